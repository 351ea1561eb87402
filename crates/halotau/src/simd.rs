//! Which vector instructions does this processor have?
//!
//! A kernel is written once, as plain loops over arrays of fixed length, which the compiler turns into the instructions of the
//! function that they stand in. [`dispatch!`](crate::simd::dispatch) puts the same body into one function an instruction set and chooses
//! among them when the program runs, so that one binary is fast anywhere and runs everywhere. The body for the
//! oldest processors is the plain version; tests run every body that the machine at hand can run.
//!
//! NEON belongs to every 64-bit ARM processor: there the plain body is compiled to it.

/// A set of vector instructions that this processor is known to have; there is no other way to make one than to ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(pub(in crate::simd) Set);

/// The instruction sets that bodies are compiled for, the widest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// What every processor of the architecture has.
    Plain,
    /// 32-byte vectors and fused multiply-add: x86-64 since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64-byte vectors: x86-64 servers since 2017.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The widest that this processor has. The answer is remembered by the standard library, so asking costs next to nothing.
    #[inline]
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                return Self(Set::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Plain)
    }

    /// The set itself.
    #[inline]
    pub(crate) fn set(self) -> Set {
        self.0
    }

    /// All that this processor has, the plain one first: what tests go through.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let sets = match Self::best().0 {
            Set::Plain => vec![Set::Plain],
            Set::Avx2 => vec![Set::Plain, Set::Avx2],
            Set::Avx512 => vec![Set::Plain, Set::Avx2, Set::Avx512],
        };
        #[cfg(not(target_arch = "x86_64"))]
        let sets = vec![Set::Plain];
        sets.into_iter().map(Self).collect()
    }
}

/// Defines a function whose first argument is an [`Isa`](crate::simd::Isa) and whose body is compiled for each.
///
/// The body is one expression that calls `#[inline(always)]` functions: only what is inlined gets the instructions. Three bodies are
/// given where they differ in the shape of their blocks. Generic parameters stand in brackets, first as they are declared, then
/// as they are used.
macro_rules! dispatch {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $([$($declared:tt)*] [$($used:ident),*])? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? {
            avx512: $avx512:expr,
            avx2: $avx2:expr,
            plain: $plain:expr $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$($declared)*>)? (isa: $crate::simd::Isa, $($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512 $(<$($declared)*>)? ($($arg: $type),*) $(-> $out)? {
                $avx512
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$($declared)*>)? ($($arg: $type),*) $(-> $out)? {
                $avx2
            }
            #[allow(unsafe_code, reason = "an Isa is only made after the processor was asked for these very instructions")]
            match isa.set() {
                $crate::simd::Set::Plain => $plain,
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the instructions are there, or this Isa would not exist.
                $crate::simd::Set::Avx2 => unsafe { avx2 $(::<$($used),*>)? ($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::simd::Set::Avx512 => unsafe { avx512 $(::<$($used),*>)? ($($arg),*) },
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $([$($declared:tt)*] [$($used:ident),*])? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? {
            $body:expr
        }
    ) => {
        $crate::simd::dispatch! {
            $(#[$meta])*
            $vis fn $name $([$($declared)*] [$($used),*])? ($($arg: $type),*) $(-> $out)? {
                avx512: $body,
                avx2: $body,
                plain: $body,
            }
        }
    };
}
pub(crate) use dispatch;
