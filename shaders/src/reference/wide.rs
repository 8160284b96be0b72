//! Loops over samples compiled a second time, for CPUs with AVX2 (most x86 ones; the build's baseline is SSE2).

/// `wide!(fn name(arguments) -> result = inner)`: a function that calls `inner`, as compiled for AVX2 where there is
/// AVX2. `inner` is `#[inline(always)]`. The results are the same: no operations are fused.
macro_rules! wide {
    (
        $(#[$doc:meta])*
        $public:vis fn $name:ident $(<$T:ident: $Bound:path>)?
        ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $inner:path
    ) => {
        $(#[$doc])*
        $public fn $name $(<$T: $Bound>)? ($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2 $(<$T: $Bound>)? ($($argument: $type),*) $(-> $result)? {
                    $inner($($argument),*)
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was found.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            $inner($($argument),*)
        }
    };
}

pub(super) use wide;
