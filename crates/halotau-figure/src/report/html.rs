//! How is a page put together? Escaped text, headings with anchors, tables with their CSV.

use std::fmt::Write as _;

use crate::svg::escape;

/// A table of text. Cells of numbers are written as they shall be read, without a unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Headings, with units.
    pub columns: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(caption: &str, columns: &[&str]) -> Self {
        Self {
            caption: caption.to_owned(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// The same as comma-separated values, RFC 4180, with a plain minus sign.
    pub fn to_csv(&self) -> String {
        let mut csv = String::new();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
            csv.push_str(&cells.join(","));
            csv.push('\n');
        }
        csv
    }
}

fn csv_cell(cell: &str) -> String {
    let cell = cell.replace('−', "-").replace('\u{a0}', " ");
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

/// Longer cells may be broken into lines; shorter ones are numbers with their intervals.
const LONG_CELL: usize = 32;

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page {
    title: String,
    body: String,
    n_tables: usize,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            body: String::new(),
            n_tables: 0,
        }
    }

    /// HTML that is known to be valid.
    pub(super) fn raw(&mut self, html: &str) {
        self.body.push_str(html);
        self.body.push('\n');
    }

    /// A paragraph of text.
    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A heading with an anchor.
    pub(super) fn heading(&mut self, anchor: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<h2 id=\"{}\">{}</h2>",
            escape(anchor),
            escape(text)
        );
    }

    /// Text as it stands, for copying.
    pub(super) fn preformatted(&mut self, text: &str, label: &str) {
        let _ = writeln!(
            self.body,
            "<div class=\"copyable\"><pre tabindex=\"0\" aria-label=\"{}\">{}</pre></div>",
            escape(label),
            escape(text)
        );
    }

    /// A table with its CSV underneath.
    pub(super) fn table(&mut self, table: &Table) {
        self.n_tables += 1;
        let _ = writeln!(
            self.body,
            "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-labelledby=\"table-{n}\">\n<table>\n<caption id=\"table-{n}\">{}</caption>\n<thead><tr>",
            escape(&table.caption),
            n = self.n_tables
        );
        for column in &table.columns {
            let _ = write!(self.body, "<th scope=\"col\">{}</th>", escape(column));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            self.body.push_str("<tr>");
            for (col, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = if col == 0 {
                    write!(self.body, "<th scope=\"row\">{cell}</th>")
                } else if cell.chars().count() > LONG_CELL {
                    write!(self.body, "<td class=\"text\">{cell}</td>")
                } else {
                    write!(self.body, "<td>{cell}</td>")
                };
            }
            self.body.push_str("</tr>\n");
        }
        let _ = writeln!(
            self.body,
            "</tbody>\n</table></div>\n<details class=\"csv\"><summary>The same as CSV</summary>\
             <div class=\"copyable\"><pre tabindex=\"0\" aria-label=\"table {} as CSV\">{}</pre></div></details>",
            self.n_tables,
            escape(&table.to_csv())
        );
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}</main>\n<script>\n{}</script>\n</body>\n</html>\n",
            escape(&self.title),
            include_str!("report.css"),
            self.body,
            include_str!("report.js"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_it_must() {
        let mut table = Table::new("t", &["a", "b"]);
        table.rows.push(vec!["1,5".into(), "say \"−1\"".into()]);
        assert_eq!(table.to_csv(), "a,b\n\"1,5\",\"say \"\"-1\"\"\"\n");
    }
}
