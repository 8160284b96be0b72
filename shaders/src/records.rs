//! What kernels are told and what they hand on, by name.
//!
//! A kernel that binds one of these declares a struct of the same name with the same members; `tests/validate.rs`
//! has naga compare every offset. Members of four words lie at multiples of 16 bytes, as WGSL wants them.

use bytemuck::{Pod, Zeroable};

/// Words from one parameter record to the next, as bindings begin at multiples of 256 bytes.
pub const RECORD_WORDS: usize = 64;

/// Most levels of a [`BatchRecord`].
pub const MOST_LEVELS: usize = 40;

/// [`LevelRecord::activation`]: a score of its own for each class.
pub const SIGMOID: u32 = 0;
/// [`LevelRecord::activation`]: over the channels of a prior, the last one is the background.
pub const SOFTMAX: u32 = 1;
/// [`LevelRecord::activation`]: they are scores.
pub const SCORES: u32 = 2;
/// [`LevelRecord::activation`]: a place in the order of all logits.
pub const ORDER: u32 = 3;

/// Label of a box that does not count, and source of a row without a box. As an i32: -1.
pub const INVALID: u32 = u32::MAX;

/// Name, first byte and number of bytes of a struct's member.
pub type Member = (&'static str, usize, usize);

macro_rules! record {
    ($(#[$doc:meta])* $record:ident { $($(#[$member_doc:meta])* $member:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $record {
            $($(#[$member_doc])* pub $member: $kind,)*
        }

        impl $record {
            /// All members in their order.
            pub const MEMBERS: &'static [Member] = &[
                $((stringify!($member), std::mem::offset_of!($record, $member), size_of::<$kind>()),)*
            ];
            /// Length in words.
            pub const WORDS: usize = size_of::<$record>() / 4;
        }

        const _: () = assert!(size_of::<$record>() == 0 $(+ size_of::<$kind>())*, "no gaps");
        // SAFETY: 32-bit numbers and arrays of them, any bits of which mean something.
        unsafe impl Zeroable for $record {}
        // SAFETY: as above, and it is `repr(C)` without gaps.
        unsafe impl Pod for $record {}
    };
}

record!(
    /// What `select`, `digit` and `decode` are told of a level. N pictures, A priors a cell, C channels a prior, H x W cells.
    LevelRecord {
        /// Strides in elements of the scores, N x (A*C) x H x W.
        score_strides: [u32; 4],
        /// Of the boxes or deltas, N x (A*4) x H x W.
        box_strides: [u32; 4],
        /// Of the factors, N x A x H x W.
        factor_strides: [u32; 4],
        /// `DeltaXYWHBBoxCoder.target_means`.
        means: [f32; 4],
        /// `DeltaXYWHBBoxCoder.target_stds`.
        stds: [f32; 4],
        /// Distance between cells in x and y, px.
        stride: [f32; 2],
        /// H.
        height: u32,
        /// W.
        width: u32,
        /// A.
        priors: u32,
        /// C; with softmax one of them is the background.
        channels: u32,
        /// [`SIGMOID`], [`SOFTMAX`], [`SCORES`] or [`ORDER`].
        activation: u32,
        /// How a picture's scores lie: 1 dense with channels first, 2 dense with channels last, 0 otherwise.
        dense: u32,
        /// Scores must be above this.
        score_thr: f32,
        /// Logits below this cannot pass.
        bound: f32,
        /// Scores may equal `score_thr`.
        at_least: u32,
        /// Only the best class of a prior counts.
        best_class: u32,
        /// N.
        pictures: u32,
        /// The level's first `State`, of N.
        first_state: u32,
        /// Candidates wanted, as the end of a Python slice.
        nms_pre: i32,
        /// Candidates that there is room for, a picture.
        capacity: u32,
        /// The first of them.
        first_candidate: u32,
        /// Rows that the level can fill, a picture.
        slots: u32,
        /// The first of them among a picture's rows.
        first_slot: u32,
        /// Rows of all levels, a picture.
        all_slots: u32,
        /// Number of the level.
        level: u32,
        /// Boxes of different levels are apart, instead of those of different classes.
        by_level: u32,
        /// Priors of the levels before.
        first_source: u32,
        /// Where the base anchors are among the numbers.
        anchors: u32,
        /// They are boxes already, not deltas.
        decoded: u32,
        /// Clip boxes to the picture.
        clip: u32,
        /// Scores are multiplied by factors.
        has_factor: u32,
        /// `DeltaXYWHBBoxCoder.add_ctr_clamp`.
        add_ctr_clamp: u32,
        /// `DeltaXYWHBBoxCoder.ctr_clamp`, px.
        ctr_clamp: f32,
        /// Largest |dw| and |dh|.
        max_ratio: f32,
        /// Boxes must be wider and higher than this, px, unless it is negative.
        min_bbox_size: f32,
        /// Boxes of a prior: 1, or one for each class.
        boxes_each: u32,
        /// Added to the size of a prior, and taken from that of a picture, px.
        extra: f32,
    }
);

record!(
    /// What `order` and `nms` are told of the batch.
    BatchRecord {
        /// N.
        pictures: u32,
        /// Levels.
        levels: u32,
        /// Rows of all levels, a picture.
        slots: u32,
        /// Boxes that are kept at most, a picture.
        most: u32,
        /// The rows of every level are in order.
        sorted: u32,
        /// Whether boxes remove each other at all.
        suppress: u32,
        /// Boxes that overlap by more than this are too close.
        iou_threshold: f32,
        /// Added to widths and heights.
        offset: f32,
        /// Boxes must be above this, if it is above 0.
        score_threshold: f32,
        /// Boxes of different groups remove each other.
        class_agnostic: u32,
        /// From this number of boxes on groups are apart all the same.
        split_thr: u32,
        /// Boxes kept, as the end of a Python slice.
        max_per_img: i32,
        /// Where the parts of `kept` begin, in words: N overflows; counts are at 0.
        overflows_at: u32,
        /// N x most x 4.
        boxes_at: u32,
        /// N x most.
        scores_at: u32,
        /// N x most.
        labels_at: u32,
        /// N x most.
        sources_at: u32,
        /// The first slot of each level.
        first_slots: [u32; MOST_LEVELS],
    }
);

record!(
    /// How far the choice of a level's best is, for one picture. All begins as 0.
    State {
        /// What `select` has to do: 0 count, 1 collect, 2 nothing.
        mode: u32,
        /// Digits chosen.
        round: u32,
        /// The key's score, as far as it is chosen.
        key: u32,
        /// The key's index, inverted.
        inverted: u32,
        /// Rank wanted among the scores that share the digits chosen.
        rank: u32,
        /// Scores above those.
        above: u32,
        /// Scores that passed the threshold.
        passed: u32,
        /// How many of them are wanted.
        wanted: u32,
        /// How many were collected.
        collected: u32,
        /// More are wanted than there is room for.
        overflow: u32,
    }
);

record!(
    /// A box in a slot.
    Row {
        /// xyxy px.
        corners: [f32; 4],
        /// Bits of the score, which is 0 or more: they order as scores do.
        score: u32,
        /// Its class, or [`INVALID`].
        label: u32,
        /// Boxes of different groups do not touch each other.
        group: u32,
        /// Its prior among those of all levels, or [`INVALID`] in an empty slot.
        source: u32,
    }
);

record!(
    /// What the convolutions of `conv/` are told. x `[N, H, W, C]`, y `[N, H', W', K]`; channels and filters are counted in vec4s, but for `grouped`.
    ConvRecord {
        /// Of x, in vec4s: 0, then from a picture, a row and a pixel to the next.
        strides: [u32; 4],
        /// The activation's numbers.
        act_by: [f32; 4],
        /// H and W.
        size: [u32; 2],
        /// H' and W'.
        size_out: [u32; 2],
        /// Taps down and across.
        kernel: [u32; 2],
        /// Steps between outputs, in pixels.
        stride: [u32; 2],
        /// Rows and columns of 0 before x.
        padding: [u32; 2],
        /// Steps between taps, in pixels.
        dilation: [u32; 2],
        /// Steps from a pixel of x to the next where there are zeros between them; 1 where there are none.
        spread: [u32; 2],
        /// N * H' * W'.
        pixels: u32,
        /// C; of a group for `grouped`.
        channels: u32,
        /// K.
        filters: u32,
        /// Terms of a sum, in vec4s: taps times channels. For `grouped`, filters that are not filled up.
        depth: u32,
        /// Terms that one z sums; for `grouped` the filters of a group, for `sum` the number of parts.
        part: u32,
        /// First term of a z, from that of the z before.
        step: u32,
        /// Vec4s of x from a z to the next.
        x_batch: u32,
        /// Of weights.
        w_batch: u32,
        /// Of y.
        y_batch: u32,
        /// A bias is added.
        has_bias: u32,
        /// Something of y's shape is added.
        has_add: u32,
        /// The activation, by its number in `shared/finish.wgsl`; 0 is none.
        act: u32,
    }
);

record!(
    /// What the kernels of deformable convolution are told: x `[N, H, W, C]`, y's pixels of all pictures one after the other.
    DeformRecord {
        /// Of the offsets: from a picture, a channel, a row and a pixel to the next.
        offset_strides: [u32; 4],
        /// Of the mask.
        mask_strides: [u32; 4],
        /// H and W.
        size: [u32; 2],
        /// H' and W'.
        size_out: [u32; 2],
        /// Taps down and across.
        kernel: [u32; 2],
        /// Steps between outputs, in pixels.
        stride: [u32; 2],
        /// Rows and columns of 0 around x.
        padding: [u32; 2],
        /// Steps between taps, in pixels.
        dilation: [u32; 2],
        /// The block's first pixel of y.
        first: u32,
        /// Pixels of the block.
        pixels: u32,
        /// The picture of the first.
        picture: u32,
        /// Pictures that the block has a part in.
        pictures: u32,
        /// C, in vec4s.
        channels: u32,
        /// Sets of channels that move together.
        sets: u32,
        /// Channels of each.
        each: u32,
        /// For `cells`: samples are put in their places, not counted.
        place: u32,
    }
);

record!(
    /// What Winograd's transforms are told.
    WinogradRecord {
        /// Of x, in vec4s: 0, then from a picture, a row and a pixel to the next.
        strides: [u32; 4],
        /// The activation's numbers.
        act_by: [f32; 4],
        /// H and W.
        size: [u32; 2],
        /// H' and W'.
        size_out: [u32; 2],
        /// Rows and columns of 0 before x.
        padding: [u32; 2],
        /// Tiles of a picture, down and across.
        tiles: [u32; 2],
        /// The block's first tile.
        first: u32,
        /// Tiles of the block.
        count: u32,
        /// Vec4s of channels, or of filters where they are written.
        channels: u32,
        /// A bias is added.
        has_bias: u32,
        /// Something of y's shape is added.
        has_add: u32,
        /// The activation, by its number in `shared/finish.wgsl`; 0 is none.
        act: u32,
    }
);

record!(
    /// What `sgd` is told; PyTorch's names are in quotes.
    SgdRecord {
        /// The learning rate.
        lr: f32,
        /// "momentum".
        momentum: f32,
        /// 1 - "dampening".
        undamped: f32,
        /// "weight_decay".
        weight_decay: f32,
        /// -1 to climb ("maximize"), else 1.
        sign: f32,
        /// The buffer has no content yet.
        fresh: u32,
        /// "nesterov".
        nesterov: u32,
        /// The most that a number of the gradient may be after its factor; unbounded if negative.
        most: f32,
    }
);

record!(
    /// What `adam` is told.
    AdamRecord {
        /// What is left of the value by AdamW's decay, 1 - lr * weight decay; 1 for Adam.
        keep: f32,
        /// Adam's weight decay, which the slope has; 0 for AdamW.
        weight_decay: f32,
        /// -1 to climb ("maximize"), else 1.
        sign: f32,
        /// 1 - the first of "betas".
        new_mean: f32,
        /// The second of "betas".
        old_square: f32,
        /// 1 - the second of "betas".
        new_square: f32,
        /// lr / (1 - the first of "betas" to the power of the steps).
        step_size: f32,
        /// Square root of (1 - the second of "betas" to the power of the steps).
        correction: f32,
        /// "eps".
        eps: f32,
        /// "amsgrad".
        amsgrad: u32,
        /// The most that a number of the gradient may be after its factor; unbounded if negative.
        most: f32,
    }
);

record!(
    /// What `rmsprop` is told.
    RmspropRecord {
        /// The learning rate.
        lr: f32,
        /// "alpha".
        alpha: f32,
        /// 1 - "alpha".
        new_share: f32,
        /// "eps".
        eps: f32,
        /// "weight_decay".
        weight_decay: f32,
        /// "momentum".
        momentum: f32,
        /// -1 to climb ("maximize"), else 1.
        sign: f32,
        /// "centered".
        centered: u32,
        /// The most that a number of the gradient may be after its factor; unbounded if negative.
        most: f32,
    }
);

record!(
    /// What `focal` is told: N pictures, A places of a cell, K classes, P cells.
    FocalRecord {
        /// N * A * K * P.
        logits: u32,
        /// A.
        per_cell: u32,
        /// K.
        classes: u32,
        /// P.
        cells: u32,
        /// Slopes are wanted, not sums.
        slopes: u32,
        /// The power of how wrong a logit is.
        gamma: f32,
        /// The factor of what is to be found; `1 - alpha` is that of the rest.
        alpha: f32,
        /// 0.
        unused: u32,
    }
);

record!(
    /// What the kernels of batch norm are told: M rows of C channels, S slices of rows.
    NormRecord {
        /// Of the activation.
        act_by: [f32; 4],
        /// The activation's number, as [`ConvRecord::act`].
        act: u32,
        /// M.
        rows: u32,
        /// C.
        channels: u32,
        /// S.
        slices: u32,
        /// The statistics are x's own.
        own: u32,
        /// Added to the variance.
        eps: f32,
        /// 0.
        unused: [u32; 2],
    }
);

record!(
    /// What `roi/align` and its gradient are told: R regions, C channels, N pictures, P places of all levels.
    RoiRecord {
        /// Strides in elements of the pyramid: pictures, channels, places; then 0.
        strides: [u32; 4],
        /// Bins down and across.
        bins: [u32; 2],
        /// Samples of a bin each way; 0 for as many as it has places.
        ratio: u32,
        /// Places have their middle at half numbers.
        aligned: u32,
        /// What a bin is: 0 the mean of samples, 1 the largest of them, 2 the largest of whole places.
        kind: u32,
        /// Regions choose their level by their size.
        by_size: u32,
        /// Else all are read from this one.
        level: u32,
        /// How many there are.
        levels: u32,
        /// Regions of less than twice so many px a side are of the finest level.
        finest: f32,
        /// C.
        channels: u32,
        /// R.
        regions: u32,
        /// N.
        pictures: u32,
        /// P.
        places: u32,
        /// C filled up to a multiple of four.
        filled: u32,
        /// Added to sizes that are counted in that.
        epsilon: f32,
        /// 0.
        unused: u32,
    }
);

record!(
    /// A level of a pyramid, for the same.
    RoiLevel {
        /// Its first place.
        first: u32,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// Places per pixel.
        scale: f32,
    }
);

record!(
    /// What `roi/mask_paste` is told.
    PasteRecord {
        /// How many masks.
        masks: u32,
        /// Rows of each.
        mask_height: u32,
        /// Columns of each.
        mask_width: u32,
        /// Of the picture, px.
        height: u32,
        /// Of the picture, px.
        width: u32,
        /// Words of a row of the picture.
        words: u32,
        /// Values times 255, not above the threshold or not.
        grey: u32,
        /// From it on a pixel is 1.
        threshold: f32,
    }
);

record!(
    /// What `activate` is told.
    ActRecord {
        /// Of the activation.
        act_by: [f32; 4],
        /// Its number, as [`ConvRecord::act`].
        act: u32,
        /// n.
        numbers: u32,
        /// The gradient is wanted, not y.
        slopes: u32,
        /// 0.
        unused: u32,
    }
);

/// The records by the names that they have in WGSL, with their members and their bytes.
pub const ALL: &[(&str, &[Member], usize)] = &[
    (
        "LevelRecord",
        LevelRecord::MEMBERS,
        size_of::<LevelRecord>(),
    ),
    (
        "BatchRecord",
        BatchRecord::MEMBERS,
        size_of::<BatchRecord>(),
    ),
    ("ConvRecord", ConvRecord::MEMBERS, size_of::<ConvRecord>()),
    (
        "WinogradRecord",
        WinogradRecord::MEMBERS,
        size_of::<WinogradRecord>(),
    ),
    (
        "DeformRecord",
        DeformRecord::MEMBERS,
        size_of::<DeformRecord>(),
    ),
    ("SgdRecord", SgdRecord::MEMBERS, size_of::<SgdRecord>()),
    ("AdamRecord", AdamRecord::MEMBERS, size_of::<AdamRecord>()),
    (
        "RmspropRecord",
        RmspropRecord::MEMBERS,
        size_of::<RmspropRecord>(),
    ),
    (
        "FocalRecord",
        FocalRecord::MEMBERS,
        size_of::<FocalRecord>(),
    ),
    ("NormRecord", NormRecord::MEMBERS, size_of::<NormRecord>()),
    ("RoiRecord", RoiRecord::MEMBERS, size_of::<RoiRecord>()),
    ("RoiLevel", RoiLevel::MEMBERS, size_of::<RoiLevel>()),
    (
        "PasteRecord",
        PasteRecord::MEMBERS,
        size_of::<PasteRecord>(),
    ),
    ("ActRecord", ActRecord::MEMBERS, size_of::<ActRecord>()),
    ("State", State::MEMBERS, size_of::<State>()),
    ("Row", Row::MEMBERS, size_of::<Row>()),
];

const _: () = assert!(LevelRecord::WORDS <= RECORD_WORDS && BatchRecord::WORDS <= RECORD_WORDS);
