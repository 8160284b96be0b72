//! A detector from a config and a checkpoint, on a picture:
//! `cargo run --release -p smalti --example detect -- CONFIG CHECKPOINT PICTURE`

use smalti::Predictor;
use smalti::config::Config;
use smalti::host::{cache, config_files::ConfigFiles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(detect())
}

async fn detect() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, config, checkpoint, picture] = args.as_slice() else {
        return Err("usage: detect CONFIG CHECKPOINT PICTURE".into());
    };
    let config = Config::load(config, &ConfigFiles::new())?;
    let checkpoint = cache::load(checkpoint, &mut |_| ())?;
    let chosen = smalti::device::choose("auto").await?;
    let predictor = Predictor::builder(&config)
        .checkpoint(checkpoint)
        .device(&chosen.device)
        .build()?;

    let picture = predictor.decode(picture, &std::fs::read(picture)?)?;
    let found = &predictor.detect(&[picture]).await?[0];
    for ((bbox, score), label) in found.boxes.iter().zip(&found.scores).zip(&found.labels) {
        println!("{} {score:.2} {bbox:?}", predictor.classes()[*label]);
    }
    Ok(())
}
