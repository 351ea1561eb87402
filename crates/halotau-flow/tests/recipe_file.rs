//! Recipes as people write them, right and wrong.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use halotau::axes::QRange;
use halotau::recipe::{Profile, Recipe};
use halotau::relax::{Stretch, Weights};
use halotau_flow::recipe_file::{Loaded, load, parse, to_toml};
use halotau_flow::{Error, Result};

fn parse_with(text: &str, overrides: &[&str]) -> Result<Loaded> {
    let overrides: Vec<String> = overrides.iter().map(|&given| given.to_owned()).collect();
    parse(text, "r.toml", Path::new("/d"), &overrides)
}

/// The problem's code, place, the bytes pointed at and the help.
fn problem(text: &str, overrides: &[&str]) -> (String, String, String, String) {
    let error = parse_with(text, overrides).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    let at = error
        .label()
        .map_or_else(String::new, |(text, _, span)| text[span].to_owned());
    let place = error.place().unwrap_or_default();
    (
        error.code().to_owned(),
        place,
        at,
        error.help().unwrap_or_default(),
    )
}

#[test]
fn the_user_s_keys_win_over_the_profile() {
    let text = "profile = \"paper\"\n[dynamics]\nnormalization = \"flattened\"\n";
    let recipe = parse_with(text, &[]).unwrap().recipe;
    assert_eq!(recipe.profile, Profile::Paper);
    assert_eq!(
        recipe.dynamics.normalization,
        halotau::correlate::Normalization::Flattened
    );
    assert_eq!(recipe.relaxation.weights, Weights::None);
    assert_eq!(recipe.dynamics.q_range_per_nm, QRange::new(4.2, 4.6));
    // A section that names one key keeps the profile's choice in the others.
    let recipe = parse_with("[dynamics]\ntwo_time = \"all\"\n", &[])
        .unwrap()
        .recipe;
    assert_eq!(recipe.dynamics.q_range_per_nm, QRange::new(3.0, 5.8));
}

#[test]
fn overrides_win_over_the_file() {
    let text = "[pattern]\nbin = 4\n[[data]]\npath = \"a.npy\"\n[[data]]\npath = \"b.npy\"\n";
    let overrides = [
        "profile=paper",
        "pattern.bin=2",
        "dynamics.q_range_per_nm=[4.1,4.7]",
        "relaxation.stretch={ free = { min = 0.5, max = 1.5 } }",
        "data[1].temperature_k=643",
    ];
    let recipe = parse_with(text, &overrides).unwrap().recipe;
    assert_eq!(recipe.profile, Profile::Paper);
    assert_eq!(recipe.pattern.bin, 2);
    assert_eq!(recipe.dynamics.q_range_per_nm, QRange::new(4.1, 4.7));
    assert_eq!(
        recipe.relaxation.stretch,
        Stretch::Free { min: 0.5, max: 1.5 }
    );
    assert_eq!(recipe.data[0].temperature_k, None);
    assert_eq!(recipe.data[1].temperature_k, Some(643.0));
    assert_eq!(recipe.data[1].path, Path::new("/d/b.npy"));
}

#[test]
fn a_profile_on_the_command_line_brings_its_choices() {
    // A complete recipe, as `init` writes it, has every choice of its own profile written out.
    let text = to_toml(&Recipe::of(Profile::Recommended));
    let loaded = parse_with(&text, &["profile=paper", "relaxation.lag_fraction=0.4"]).unwrap();
    let mut expected = Recipe::of(Profile::Paper);
    expected.relaxation.lag_fraction = 0.4;
    assert_eq!(loaded.recipe.dynamics, expected.dynamics);
    assert_eq!(loaded.recipe.relaxation, expected.relaxation);
    assert_eq!(loaded.recipe.structure, expected.structure);
    assert_eq!(loaded.recipe.arrhenius, expected.arrhenius);
}

#[test]
fn slips_are_pointed_at_with_the_cure() {
    let slip = |text: &str, overrides: &[&str]| {
        let (code, place, at, help) = problem(text, overrides);
        format!("{code} | {place} | {at} | {help}")
    };
    let range = "[dynamics]\nq_range = [4.2, 4.6]\n";
    assert_eq!(
        slip(range, &[]),
        "E0101 | r.toml:2:1 | q_range | did you mean `q_range_per_nm`?"
    );
    let section = "[dynamic]\n";
    assert_eq!(
        slip(section, &[]),
        "E0101 | r.toml:1:2 | dynamic | did you mean `dynamics`?"
    );
    let choice = "[structure]\nnoise = \"countin\"\n";
    assert_eq!(
        slip(choice, &[]),
        "E0102 | r.toml:2:9 | \"countin\" | did you mean `counting`?"
    );
    let kind = "[pattern]\nbin = \"four\"\n";
    assert!(slip(kind, &[]).starts_with("E0102 | r.toml:2:7 | \"four\""));
    let syntax = "[pattern\nbin = 4\n";
    assert!(slip(syntax, &[]).starts_with("E0105 | r.toml:1:"));
    let given = slip("", &["pattern.bins=2"]);
    assert!(
        given.starts_with("E0101 | -s pattern.bins=2:1:9 | bins | did you mean `bin`?"),
        "{given}"
    );
}

#[test]
fn data_in_the_place_of_a_recipe_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scan.h5");
    std::fs::write(&file, [0x89, b'H', 0xff]).unwrap();
    for data in [folder.path(), &file] {
        let error = load(data, &[]).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{error}");
        assert!(error.to_string().contains("halotau init"), "{error}");
    }
}

#[test]
fn values_that_make_no_sense_are_pointed_at() {
    for (key, value) in [
        ("pattern.bin", "0"),
        ("dynamics.q_range_per_nm", "[4.6, 4.2]"),
        ("structure.q_range_per_nm", "[-1.0, 4.2]"),
        ("scan.step_nm", "-0.16"),
        ("scan.polygon", "[[0.0, 0.0], [9.0, 0.0]]"),
        ("interval.level", "95.0"),
        ("interval.sectors", "1"),
        ("relaxation.lag_fraction", "0.0"),
        ("relaxation.stretch", "{ fixed = 0.0 }"),
        ("structure.excess_factor", "0.9"),
        ("microscope.voltage_kv", "nan"),
        ("output.max_bad", "50"),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let text = format!("# a comment\n[{section}]\n{name} = {value}\n");
        let (code, place, at, _) = problem(&text, &[]);
        assert_eq!((code.as_str(), at.as_str()), ("E0103", value), "{key}");
        assert!(place.starts_with("r.toml:3:"), "{place}");
        // The override is what is wrong, not the line of the file that it replaces.
        let (_, place, at, _) = problem("", &[&format!("{key}={value}")]);
        assert_eq!(at, value, "{key}");
        assert!(place.starts_with("-s "), "{place}");
    }
    let (_, place, at, _) = problem(
        "[[data]]\npath = \"a\"\n[[data]]\npath = \"b\"\ntotal_s = 0\n",
        &[],
    );
    assert_eq!((place.as_str(), at.as_str()), ("r.toml:5:11", "0"));
}

#[test]
fn an_error_of_the_data_points_at_the_range() {
    let loaded = parse_with("[dynamics]\nq_range_per_nm = [42.0, 46.0]\n", &[]).unwrap();
    assert_eq!(loaded.warnings[0].code, "W035");
    let error = loaded.locate(Error::from(halotau::Error::RingOutside {
        what: "the detector",
        q_min_per_nm: 3.0,
        q_max_per_nm: 46.0,
        available_min_per_nm: 0.0,
        available_max_per_nm: 7.7,
    }));
    assert_eq!((error.exit_code(), error.code()), (78, "E0207"));
    let (text, name, span) = error.label().unwrap();
    assert_eq!((name, &text[span]), ("r.toml", "[42.0, 46.0]"));
    assert_eq!(error.label_text(), "the detector ends at 7.700 1/nm");
}

#[test]
fn a_missing_file_a_binary_one_and_no_data_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(&folder.path().join("none.toml"), &[]).unwrap_err();
    assert_eq!((error.exit_code(), error.code()), (66, "E0401"));
    let data = folder.path().join("data.npy");
    std::fs::write(&data, b"\x93NUMPY\x01\x00").unwrap();
    let error = load(&data, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("halotau init"));
    let error = parse_with("", &[]).unwrap().require_data().unwrap_err();
    assert_eq!((error.exit_code(), error.code()), (2, "E0104"));
}

#[test]
fn a_result_folder_is_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), "title = \"again\"\n").unwrap();
    let loaded = load(folder.path(), &[]).unwrap();
    assert_eq!(loaded.recipe.title, "again");
    assert_eq!(
        loaded.recipe.output.folder,
        folder.path().join("halotau-results")
    );
}
