//! [`Parts`]: the layers of a model as a tree, by the parts of their names, with sums; and its rows as they are shown.

use std::collections::{HashMap, HashSet};

use smalti::outline::{Layer, Outline};

/// A part of a model: a layer, or what has some.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its name in the state dict, such as `backbone.layer1`.
    pub place: String,
    /// The last part of that.
    pub name: String,
    /// How deep it lies.
    pub depth: usize,
    /// What is in it, by place in [`Parts::all`].
    pub children: Vec<usize>,
    /// Its own tensors and their shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Numbers in parameters here and below.
    pub parameters: u64,
    /// Those of them that are frozen.
    pub frozen: u64,
    /// Products here and below.
    pub products: u64,
    /// Shapes of what it gives.
    pub outputs: Vec<Vec<usize>>,
    /// The layer that gives what it gives: it, or the last one in it.
    pub gives: Option<String>,
}

/// All parts of a model.
#[derive(Debug, Default)]
pub struct Parts {
    /// A part is before those in it.
    pub all: Vec<Part>,
    roots: Vec<usize>,
}

/// In what order the parts of one part are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the model has them.
    #[default]
    Model,
    /// Most parameters first.
    Parameters,
    /// Most products first.
    Products,
}

impl Parts {
    /// Of an outline.
    pub fn of(outline: &Outline) -> Self {
        let mut parts = Self::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        for layer in &outline.layers {
            let at = parts.at(&layer.place, &mut places);
            let part = &mut parts.all[at];
            part.tensors.clone_from(&layer.tensors);
            part.outputs.clone_from(&layer.outputs);
            if !layer.outputs.is_empty() {
                part.gives = Some(layer.place.clone());
            }
            parts.add(layer, &places);
        }
        for (name, maps) in &outline.parts {
            if let Some(at) = places.get(name) {
                parts.all[*at].outputs = maps.iter().map(|dims| dims.to_vec()).collect();
                parts.all[*at].gives = Some(name.clone());
            }
        }
        parts.give();
        parts
    }

    /// The part at a place, and those it is in.
    fn at(&mut self, place: &str, places: &mut HashMap<String, usize>) -> usize {
        if let Some(at) = places.get(place) {
            return *at;
        }
        let (above, name) = match place.rsplit_once('.') {
            Some((above, name)) => (Some(self.at(above, places)), name),
            None => (None, place),
        };
        let at = self.all.len();
        self.all.push(Part {
            place: place.to_owned(),
            name: name.to_owned(),
            depth: above.map_or(0, |above| self.all[above].depth + 1),
            ..Part::default()
        });
        match above {
            Some(above) => self.all[above].children.push(at),
            None => self.roots.push(at),
        }
        places.insert(place.to_owned(), at);
        at
    }

    /// Adds a layer's numbers to all that it is in.
    fn add(&mut self, layer: &Layer, places: &HashMap<String, usize>) {
        let mut place = Some(layer.place.as_str());
        while let Some(here) = place {
            let part = &mut self.all[places[here]];
            part.parameters += layer.parameters;
            part.frozen += layer.frozen;
            part.products += layer.products;
            place = here.rsplit_once('.').map(|(above, _)| above);
        }
    }

    /// A block of a backbone gives what its last layer does; necks and heads have layers side by side.
    fn give(&mut self) {
        for at in (0..self.all.len()).rev() {
            let part = &self.all[at];
            let root = part.place.split('.').next().unwrap_or_default();
            if part.gives.is_some() || root != "backbone" || part.depth == 0 {
                continue;
            }
            let last = part.children.iter().rev();
            let mut last = last.map(|child| &self.all[*child]);
            let found = last.find(|child| child.gives.is_some());
            if let Some((gives, outputs)) = found.map(|l| (l.gives.clone(), l.outputs.clone())) {
                (self.all[at].gives, self.all[at].outputs) = (gives, outputs);
            }
        }
    }

    /// The part of that name.
    pub fn find(&self, place: &str) -> Option<&Part> {
        self.all.iter().find(|part| part.place == place)
    }

    /// Rows from above, by place in [`Parts::all`]. `open` says which parts show what is in them; all do while something is searched.
    pub fn rows(&self, open: &dyn Fn(&Part) -> bool, search: &str, order: Order) -> Vec<usize> {
        let search = search.trim().to_lowercase();
        let found = (!search.is_empty()).then(|| self.found(&search));
        let mut rows = Vec::new();
        self.walk(&self.roots, open, found.as_ref(), order, &mut rows);
        rows
    }

    fn walk(
        &self,
        of: &[usize],
        open: &dyn Fn(&Part) -> bool,
        found: Option<&HashSet<usize>>,
        order: Order,
        rows: &mut Vec<usize>,
    ) {
        let shown = |at: &&usize| found.is_none_or(|found| found.contains(at));
        let mut of: Vec<usize> = of.iter().filter(shown).copied().collect();
        match order {
            Order::Model => {}
            Order::Parameters => of.sort_by_key(|at| std::cmp::Reverse(self.all[*at].parameters)),
            Order::Products => of.sort_by_key(|at| std::cmp::Reverse(self.all[*at].products)),
        }
        for at in of {
            rows.push(at);
            if found.is_some() || open(&self.all[at]) {
                self.walk(&self.all[at].children, open, found, order, rows);
            }
        }
    }

    /// Parts with this in their name or a shape of their tensors, and those that they are in.
    fn found(&self, search: &str) -> HashSet<usize> {
        let mut found = HashSet::new();
        for (at, part) in self.all.iter().enumerate().rev() {
            let shapes = part.tensors.iter().map(|(_, shape)| shape);
            let shapes = shapes.chain(&part.outputs).any(|s| by(s).contains(search));
            let within = part.children.iter().any(|child| found.contains(child));
            if within || shapes || part.place.to_lowercase().contains(search) {
                found.insert(at);
            }
        }
        found
    }
}

/// A shape as text: `64x3x7x7`.
pub fn by(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    sizes.join("x")
}

/// What a part gives of one picture, in a few letters: the first shape, and how many others there are.
pub fn given(outputs: &[Vec<usize>]) -> String {
    let Some(first) = outputs.first() else {
        return String::new();
    };
    let first = match first[..] {
        [1, ref rest @ ..] if !rest.is_empty() => by(rest),
        _ => by(first),
    };
    match outputs.len() {
        1 => first,
        n => format!("{first} +{}", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(place: &str, parameters: u64, products: u64, outputs: &[[usize; 4]]) -> Layer {
        Layer {
            place: place.into(),
            tensors: vec![("weight".into(), vec![parameters as usize])],
            parameters,
            frozen: parameters / 2,
            products,
            outputs: outputs.iter().map(|dims| dims.to_vec()).collect(),
        }
    }

    #[test]
    fn parts_have_the_sums_of_what_is_in_them() {
        let outline = Outline {
            input: [1, 3, 8, 8],
            layers: vec![
                layer("backbone.stem", 10, 5, &[[1, 4, 8, 8]]),
                layer("backbone.layer1.conv", 20, 50, &[[1, 8, 4, 4]]),
                layer("backbone.layer1.bn", 2, 0, &[]),
                layer("bbox_head.cls", 4, 9, &[[1, 2, 4, 4], [1, 2, 2, 2]]),
            ],
            parts: vec![("backbone".into(), vec![[1, 8, 4, 4]])],
            unknown: None,
        };
        let parts = Parts::of(&outline);
        let part = |place: &str| parts.find(place).unwrap();
        let sums = |place: &str| (part(place).parameters, part(place).products);
        assert_eq!(sums("backbone"), (32, 55));
        assert_eq!(sums("backbone.layer1"), (22, 50));
        assert_eq!(part("backbone.layer1").frozen, 11);
        assert_eq!(
            part("backbone.layer1").gives.as_deref(),
            Some("backbone.layer1.conv")
        );
        assert_eq!(part("backbone").gives.as_deref(), Some("backbone"));
        assert_eq!(part("bbox_head").gives, None);
        assert_eq!(given(&part("bbox_head.cls").outputs), "2x4x4 +1");
        let names = |open: bool, search: &str, order| {
            let rows = parts.rows(&|_| open, search, order);
            let names = rows.iter().map(|at| parts.all[*at].name.as_str());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(false, "", Order::Model), "backbone bbox_head");
        let all = "backbone stem layer1 conv bn bbox_head cls";
        assert_eq!(names(true, "", Order::Model), all);
        assert_eq!(
            names(true, "", Order::Products),
            "backbone layer1 conv bn stem bbox_head cls"
        );
        assert_eq!(names(false, "bn", Order::Model), "backbone layer1 bn");
        assert_eq!(names(false, "2x2x2", Order::Model), "bbox_head cls");
    }
}
