//! `cargo run`: what the backbone gives, and what the hook sees of a training.

fn main() {
    print!("{}", own_backbone::describe());
    match own_backbone::watch(std::path::Path::new("work_dirs/mine")) {
        Ok(seen) => print!("{seen}"),
        Err(e) => eprintln!("{e}"),
    }
}
