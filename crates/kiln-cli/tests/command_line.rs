//! What is generated from the command line's definition: help, manual pages and completions name the same things.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn kiln(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln")).args(arguments).output().unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = kiln(arguments);
    assert!(output.status.success(), "kiln {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long options of command `name`, as its help lists them.
fn listed(name: &str) -> BTreeSet<String> {
    let help = text(&[name, "--help"]);
    let lists = help.lines().filter(|line| line.trim_start().starts_with('-') && !line.trim_start().starts_with("- "));
    let first =
        lists.map(|line| line.split("  ").find(|part| part.contains('-')).unwrap_or_default().to_owned() + "\n");
    let names = options(&first.collect::<String>());
    assert!(names.contains("help"), "{help}");
    names
}

/// The long options that `text` names.
fn options(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let parts = text.split("--").skip(1).map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default());
    parts.filter(|name| !name.is_empty() && !name.starts_with('-')).map(str::to_owned).collect()
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = text(&["--help"]);
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() > 5 && names.contains(&"run".to_owned()), "{names:?}");
    names
}

#[test]
fn manual_pages_name_what_the_help_names() {
    let page = text(&["man"]);
    assert!(page.contains(".TH kiln 1"), "{page}");
    for name in commands() {
        assert!(page.contains(&format!("kiln\\-{name}(1)")), "{name}: {page}");
        if name == "help" {
            continue;
        }
        let page = text(&["man", &name]);
        assert!(page.contains(&format!(".TH kiln-{name} 1")), "{page}");
        // Roff writes a hyphen that is one as `\\-`.
        let page = options(&page.replace("\\-", "-"));
        let missing: Vec<_> = listed(&name).difference(&page).cloned().collect();
        assert!(missing.is_empty(), "kiln {name}: {missing:?} not in {page:?}");
    }
}

#[test]
fn completions_name_what_the_help_names() {
    let script = text(&["completions", "bash"]);
    for name in commands() {
        // What `kiln link` takes at every place among its inputs, like a linker, clap knows as inputs.
        if name != "help" && name != "link" {
            let missing: Vec<_> = listed(&name).difference(&options(&script)).cloned().collect();
            assert!(missing.is_empty(), "kiln {name}: {missing:?}");
        }
    }
}

#[test]
fn a_page_of_an_unknown_command_is_wrong_usage() {
    let output = kiln(&["man", "nothing"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no command \"nothing\""), "{output:?}");
}
