use super::*;
#[test]
#[ignore]
fn survey() {
    for path in std::fs::read_to_string("/tmp/specs/list").unwrap().lines() {
        let bytes = std::fs::read(path).unwrap();
        let t = std::time::Instant::now();
        let document = match Document::read(&bytes) {
            Ok(d) => d,
            Err(e) => {
                println!("## {path}: {e}");
                continue;
            }
        };
        let read = t.elapsed();
        let options =
            Options { base_url: Some("https://api.example.com".into()), ..Options::default() };
        let t = std::time::Instant::now();
        let c = match convert(&document, &options) {
            Ok(c) => c,
            Err(e) => {
                println!("## {path}: {e}");
                continue;
            }
        };
        println!(
            "## {path}: {} tools, {} refused; read {read:?} convert {:?}",
            c.tools.len(),
            c.refused.len(),
            t.elapsed()
        );
        let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for r in &c.refused {
            let e = reasons.entry(r.reason.chars().take(110).collect()).or_default();
            e.0 += 1;
            e.1 = r.operation.clone();
        }
        for d in &c.tools {
            for n in &d.notes {
                let e = reasons
                    .entry(format!("note: {}", n.chars().take(90).collect::<String>()))
                    .or_default();
                e.0 += 1;
                e.1 = d.operation.clone();
            }
        }
        let mut sizes: Vec<usize> =
            c.tools.iter().map(|d| d.fields["inputSchema"].to_string().len()).collect();
        sizes.sort();
        let outs = c.tools.iter().filter(|d| d.fields.contains_key("outputSchema")).count();
        println!(
            "   input sizes median {} max {}; outputs {}",
            sizes.get(sizes.len() / 2).unwrap_or(&0),
            sizes.last().unwrap_or(&0),
            outs
        );
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.1.0));
        for (r, (n, op)) in reasons.iter().take(14) {
            println!("   {n} x {r}  [{op}]");
        }
        if let Ok(want) = std::env::var("SHOW") {
            for d in &c.tools {
                if d.operation == want {
                    println!("{}", serde_json::to_string_pretty(&d.fields).unwrap());
                }
            }
        }
    }
}
