//! That each example of XEP-0045 §6 to §10 has a test which names it.

use std::collections::BTreeSet;

/// The first and the last example of §6 to §10.
const EXAMPLES: std::ops::RangeInclusive<u32> = 1..=204;

/// Examples of what this server does not do, and what shows nothing that a server does.
const WITHOUT: [(u32, &str); 3] = [
    (73, "for rooms that do not know registration; here every room does, and says who may (examples 68 and 151)"),
    (86, "a client shows its user that the subject has changed"),
    (158, "for services without a form; here there always is one"),
];

const TESTS: [&str; 11] = [
    include_str!("administrating.rs"),
    include_str!("discovering.rs"),
    include_str!("entering.rs"),
    include_str!("inviting.rs"),
    include_str!("leaving.rs"),
    include_str!("moderating.rs"),
    include_str!("owning.rs"),
    include_str!("registering.rs"),
    include_str!("speaking.rs"),
    include_str!("../house_tests/mod.rs"),
    include_str!("../../../tests/rooms/entering.rs"),
];

/// The examples that the name of a test states: `example_018_020_to_022_…` names 18, 20, 21 and 22.
fn stated(name: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let mut is_range = false;
    for word in name.split('_') {
        match word.parse::<u32>() {
            Ok(number) => {
                let first = numbers.last().copied().filter(|_| is_range).unwrap_or(number);
                numbers.extend(first..=number);
                is_range = false;
            }
            Err(_) if word == "to" => is_range = true,
            Err(_) => break,
        }
    }
    numbers
}

#[test]
fn names_of_tests_are_read() {
    assert_eq!(stated("018_020_to_022_s20_and_3"), BTreeSet::from([18, 20, 21, 22]));
    assert_eq!(stated("204_nobody"), BTreeSet::from([204]));
    assert!(stated("s20_a_ban").is_empty());
}

#[test]
fn every_example_has_a_test() {
    let names = TESTS.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once("fn example_"));
    let mut tested: BTreeSet<u32> = names.flat_map(|(_, name)| stated(name)).collect();
    for (number, why) in WITHOUT {
        assert!(tested.insert(number), "example {number} has a test: {why}");
    }
    let missing: Vec<u32> = EXAMPLES.filter(|number| !tested.contains(number)).collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
}
