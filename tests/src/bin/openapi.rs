//! Writes the API descriptions that are derived from the hand-written one; `make openapi` calls it.

fn main() -> anyhow::Result<()> {
    for file in easyconnect_tests::openapi::derive()? {
        std::fs::write(&file.path, &file.text)?;
        println!("{}", file.path.display());
    }
    Ok(())
}
