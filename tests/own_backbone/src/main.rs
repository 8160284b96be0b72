//! `cargo run`: what the backbone gives.

fn main() {
    print!("{}", own_backbone::describe());
}
