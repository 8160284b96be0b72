//! `cargo run`: what the backbone gives, and what the hook sees of a training.

fn main() {
    print!("{}", own_backbone::describe());
    let folder = std::env::temp_dir().join("smalti-own-backbone");
    let _ = std::fs::remove_dir_all(&folder);
    match own_backbone::watch(&folder) {
        Ok(seen) => print!("{seen}"),
        Err(e) => eprintln!("{e}"),
    }
}
