//! What the doctor says: findings, the exit code, and how a person reads them.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing, and nobody's fault.
    Note,
    /// It works, but not for everybody, or not for long.
    Warning,
    /// It does not work.
    Broken,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// What the DNS says.
    Names,
    /// What accepts connections.
    Ports,
    /// What is shown under TLS.
    Certificates,
    /// Streams of clients.
    Clients,
    /// Streams of other servers.
    Servers,
    /// Host-meta and what browsers use.
    Web,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Section::Names => "Names",
            Section::Ports => "Ports",
            Section::Certificates => "Certificates",
            Section::Clients => "Clients",
            Section::Servers => "Other servers",
            Section::Web => "Web",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub section: Section,
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub text: String,
    /// Where, when it is not everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// The records, lines and steps that mend it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

/// All findings about a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The domain.
    pub domain: String,
    /// What was found, in the order of the sections.
    pub findings: Vec<Finding>,
}

/// The signs before findings.
struct Signs {
    marks: [&'static str; 4],
    arrow: &'static str,
    coloured: bool,
}

const FOR_TERMINALS: Signs = Signs { marks: ["✓", "·", "!", "✗"], arrow: "→", coloured: true };
const PLAIN: Signs = Signs { marks: ["ok  ", "note", "WARN", "FAIL"], arrow: "->", coloured: false };
const COLOURS: [&str; 4] = ["32", "2", "33", "31"];

impl Report {
    /// Findings in their order; what is said several times is said once, with all its places.
    pub(super) fn of(domain: &str, found: Vec<Finding>) -> Report {
        let mut findings: Vec<Finding> = Vec::new();
        for finding in found {
            let is_same = |one: &&mut Finding| {
                (one.section, one.level, &one.text, &one.mend)
                    == (finding.section, finding.level, &finding.text, &finding.mend)
            };
            match findings.iter_mut().find(is_same) {
                Some(same) => {
                    same.places.extend(finding.places);
                    same.places.dedup();
                }
                None => findings.push(finding),
            }
        }
        findings.sort_by_key(|finding| finding.section);
        Report { domain: domain.to_owned(), findings }
    }

    /// The worst of all.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Good)
    }

    /// What the program ends with: 0 when all is well, 1 with warnings, 2 when something is broken.
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            Level::Good | Level::Note => 0,
            Level::Warning => 1,
            Level::Broken => 2,
        }
    }

    /// As JSON, for programs.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// For people: with signs and colours on a terminal, plain ASCII signs otherwise.
    pub fn text(&self, for_terminal: bool) -> String {
        let signs = if for_terminal { &FOR_TERMINALS } else { &PLAIN };
        let mut text = String::new();
        let mut section = None;
        for finding in &self.findings {
            if section != Some(finding.section) {
                let title = finding.section.title();
                let _ = match signs.coloured {
                    true => writeln!(text, "\n\u{1b}[1m{title}\u{1b}[0m"),
                    false => writeln!(text, "\n{title}"),
                };
                section = Some(finding.section);
            }
            write_finding(&mut text, finding, signs);
        }
        let of = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (broken, warnings) = (of(Level::Broken), of(Level::Warning));
        let warned = if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") };
        let domain = clean(&self.domain);
        let _ = match (broken, warnings) {
            (0, 0) => writeln!(text, "\n{domain}: all is well"),
            (0, _) => writeln!(text, "\n{domain}: it works, with {warned}"),
            (1, _) => writeln!(text, "\n{domain}: one thing is broken, {warned}"),
            _ => writeln!(text, "\n{domain}: {broken} things are broken, {warned}"),
        };
        text.trim_start_matches('\n').to_owned()
    }
}

fn write_finding(text: &mut String, finding: &Finding, signs: &Signs) {
    let index = finding.level as usize;
    let mark = signs.marks[index];
    let places = match finding.places.as_slice() {
        [] => String::new(),
        places => format!(" ({})", places.join(", ")),
    };
    let said = clean(&format!("{}{places}", finding.text));
    let _ = match signs.coloured {
        true => writeln!(text, "  \u{1b}[{}m{mark}\u{1b}[0m {said}", COLOURS[index]),
        false => writeln!(text, "  {mark} {said}"),
    };
    let indent = mark.chars().count() + 3;
    for line in &finding.mend {
        let _ = writeln!(text, "{:indent$}{} {}", "", signs.arrow, clean(line));
    }
}

/// What others have said may hold anything; a terminal obeys only us.
fn clean(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(section: Section, level: Level, place: &str) -> Finding {
        Finding {
            section,
            level,
            text: "the text".to_owned(),
            places: vec![place.to_owned()],
            mend: vec!["a line".to_owned()],
        }
    }

    #[test]
    fn what_is_the_same_is_said_once() {
        let found = vec![
            finding(Section::Web, Level::Good, "c"),
            finding(Section::Ports, Level::Warning, "a"),
            finding(Section::Ports, Level::Warning, "b"),
        ];
        let report = Report::of("capulet.lit", found);
        let expected = "Ports\n  WARN the text (a, b)\n       -> a line\n\nWeb\n  ok   the text (c)\n       -> a line\n\n\
                        capulet.lit: it works, with 1 warning\n";
        assert_eq!(report.text(false), expected);
        assert_eq!(report.exit_code(), 1);
        assert!(report.json().contains("\"level\": \"warning\""), "{}", report.json());
    }

    #[test]
    fn a_terminal_obeys_only_us() {
        let report = Report::of("x", vec![finding(Section::Names, Level::Broken, "\u{1b}[2J")]);
        assert_eq!(report.exit_code(), 2);
        assert!(!report.text(true).contains("\u{1b}[2J") && report.text(true).contains("✗"));
        assert!(report.text(false).is_ascii() || report.text(false).contains('\u{fffd}'));
        assert_eq!(Report::of("x", Vec::new()).exit_code(), 0);
    }
}
