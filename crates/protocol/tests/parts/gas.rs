//! Gas of the judges of parts on the longest operators, calldata included: held against `docs/gas.md`, within 2 %.

use alloy_primitives::U256;
use touchstone_protocol::descriptor::Code;
use touchstone_protocol::parts::{add_up, header, leaves};
use touchstone_protocol::witness::Verdict;

use crate::cases::{CODES, Long, long};
use crate::leaf_sums;
use crate::support::evm::Chain;
use crate::support::{Stage, Stream, bytes_of};

/// Half of what EIP-7825 gives a transaction, and what compile lets a witness have.
const GAS_LIMIT: u64 = 1 << 23;
const WITNESS_LIMIT: usize = 61_440;

const BEGIN: &str = "<!-- table: parts -->\n";
const END: &str = "<!-- end of parts -->\n";
const HEAD: &str = "| operator | totals | witness bytes | leaf | witness bytes |\n|---|---|---|---|---|\n";

/// 2^16 terms of moderate numbers, none of them negligible.
fn case(code: Code) -> Long {
    let mut stream = Stream(7);
    let mut case = long(&mut stream, code, 1 << 16);
    case.profile = touchstone_protocol::model::Profile::FAST.encode();
    for operand in &mut case.operands {
        let count = operand.len() / 4;
        *operand = bytes_of(&(0..count).map(|_| stream.number()).collect::<Vec<_>>());
    }
    case
}

#[test]
fn parts_cost_what_the_page_says() {
    let mut chain = Chain::new();
    let mut table = Vec::new();
    for code in CODES {
        let case = case(code);
        let d = &case.descriptor;
        let element = d.elements() - 1;
        let output = case.output(element, 5);
        let stage = Stage::new(d, &case.operands, &output);
        let context = stage.context();
        let honest = header(d, case.profile, &case.operands(), &output, element).unwrap();
        let truth = leaf_sums(&case, element, &honest);
        let totals = add_up(&truth.concat(), truth[0].len());
        let head = stage.head(element).unwrap();
        let (outcome, _, of_totals) = chain.totals(&context, &head, honest.free, &totals);
        assert!(
            matches!(outcome.verdict, Verdict::Inside | Verdict::Outside),
            "{code:?} {outcome:?}"
        );
        let leaf = leaves(d) / 2;
        let part = stage.part(element, leaf).unwrap();
        let (outcome, of_leaf) = chain.part(&context, &part, leaf, &honest, &truth[leaf as usize]);
        assert_eq!(outcome.verdict, Verdict::Inside, "{code:?}");
        let mut wrong = truth[leaf as usize].clone();
        wrong[0] += U256::ONE;
        let (outcome, _) = chain.part(&context, &part, leaf, &honest, &wrong);
        assert_eq!(outcome.verdict, Verdict::Outside, "{code:?}");
        for (gas, witness) in [(of_totals, &head), (of_leaf, &part)] {
            assert!(
                gas <= GAS_LIMIT && witness.len() <= WITNESS_LIMIT,
                "{code:?}: {gas} gas, {}",
                witness.len()
            );
        }
        table.push((
            format!("{code:?}"),
            [of_totals, head.len() as u64, of_leaf, part.len() as u64],
        ));
    }
    hold(&table);
}

fn hold(table: &[(String, [u64; 4])]) {
    let path = format!("{}/../../docs/gas.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (committed, after) = rest.split_once(END).expect("the table ends");
    let line = |(name, [a, b, c, d]): &(String, [u64; 4])| format!("| {name} | {a} | {b} | {c} | {d} |\n");
    let measured = HEAD.to_owned() + &table.iter().map(line).collect::<String>();
    println!("{measured}");
    if std::env::var_os("TOUCHSTONE_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{measured}{END}{after}")).unwrap();
        return;
    }
    let lines: Vec<&str> = committed.lines().skip(2).collect();
    assert_eq!(
        lines.len(),
        table.len(),
        "docs/gas.md has other rows; measured:\n{measured}"
    );
    for (line, (name, numbers)) in lines.iter().zip(table) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[1], *name, "docs/gas.md has another order of rows");
        for (cell, number) in cells[2..].iter().zip(numbers) {
            let documented: u64 = cell.parse().unwrap_or_default();
            assert!(
                documented.abs_diff(*number) * 50 <= *number,
                "docs/gas.md has {documented} for {name}, measured {number}; TOUCHSTONE_UPDATE=1 writes it"
            );
        }
    }
}
