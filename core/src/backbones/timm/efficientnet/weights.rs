//! Where timm's own weights of this family lie.

use super::recipes;

/// Releases on GitHub.
const RELEASES: [&str; 5] = [
    "rwightman/pytorch-image-models/releases/download/v0.1-weights",
    "rwightman/pytorch-image-models/releases/download/v0.1-effv2-weights",
    "rwightman/pytorch-image-models/releases/download/v0.1-tresnet",
    "huggingface/pytorch-image-models/releases/download/v0.1-weights",
    "huawei-noah/CV-Backbones/releases/download/v1.2.0",
];

/// Name and tag, which of the [`RELEASES`], file; without a file they are elsewhere. A name without a tag has the weights of its first row.
#[rustfmt::skip]
const WEIGHTS: &[(&str, usize, &str)] = &[
    ("efficientnet_b0.ra_in1k", 0, "efficientnet_b0_ra-3dd342df.pth"),
    ("efficientnet_b1.ft_in1k", 0, "efficientnet_b1-533bc792.pth"),
    ("efficientnet_b1_pruned.in1k", 2, "effnetb1_pruned-bea43a3a.pth"),
    ("efficientnet_b2.ra_in1k", 0, "efficientnet_b2_ra-bcdf34b7.pth"),
    ("efficientnet_b2_pruned.in1k", 2, "effnetb2_pruned-08c1b27c.pth"),
    ("efficientnet_b3.ra2_in1k", 0, "efficientnet_b3_ra2-cf984f9c.pth"),
    ("efficientnet_b3_pruned.in1k", 2, "effnetb3_pruned-59ecf72d.pth"),
    ("efficientnet_b4.ra2_in1k", 0, "efficientnet_b4_ra2_320-7eb33cd5.pth"),
    ("efficientnet_el.ra_in1k", 0, "efficientnet_el-3b455510.pth"),
    ("efficientnet_el_pruned.in1k", 0, "efficientnet_el_pruned70-ef2a2ccf.pth"),
    ("efficientnet_em.ra2_in1k", 0, "efficientnet_em_ra2-66250f76.pth"),
    ("efficientnet_es.ra_in1k", 0, "efficientnet_es_ra-f111e99c.pth"),
    ("efficientnet_es_pruned.in1k", 0, "efficientnet_es_pruned75-1b7248cf.pth"),
    ("efficientnet_lite0.ra_in1k", 0, "efficientnet_lite0_ra-37913777.pth"),
    ("efficientnetv2_rw_m.agc_in1k", 0, "efficientnetv2_rw_m_agc-3d90cb1e.pth"),
    ("efficientnetv2_rw_s.ra2_in1k", 0, "efficientnet_v2s_ra2_288-a6477665.pth"),
    ("efficientnetv2_rw_t.ra2_in1k", 0, "efficientnetv2_t_agc-3620981a.pth"),
    ("fbnetc_100.rmsp_in1k", 0, "fbnetc_100-c345b898.pth"),
    ("gc_efficientnetv2_rw_t.agc_in1k", 0, "gc_efficientnetv2_rw_t_agc-927a0bde.pth"),
    ("mixnet_l.ft_in1k", 0, "mixnet_l-5a9a2ed8.pth"),
    ("mixnet_m.ft_in1k", 0, "mixnet_m-4647fc68.pth"),
    ("mixnet_s.ft_in1k", 0, "mixnet_s-a907afbc.pth"),
    ("mixnet_xl.ra_in1k", 0, "mixnet_xl_ra-aac3c00c.pth"),
    ("mnasnet_100.rmsp_in1k", 0, "mnasnet_b1-74cb7081.pth"),
    ("mnasnet_small.lamb_in1k", 0, "mnasnet_small_lamb-aff75073.pth"),
    ("mobilenetv2_050.lamb_in1k", 0, "mobilenetv2_050-3d30d450.pth"),
    ("mobilenetv2_100.ra_in1k", 0, "mobilenetv2_100_ra-b33bc2c4.pth"),
    ("mobilenetv2_110d.ra_in1k", 0, "mobilenetv2_110d_ra-77090ade.pth"),
    ("mobilenetv2_120d.ra_in1k", 0, "mobilenetv2_120d_ra-5987e2ed.pth"),
    ("mobilenetv2_140.ra_in1k", 0, "mobilenetv2_140_ra-21a4e913.pth"),
    ("semnasnet_075.rmsp_in1k", 0, "semnasnet_075-18710866.pth"),
    ("semnasnet_100.rmsp_in1k", 0, "mnasnet_a1-d9418771.pth"),
    ("spnasnet_100.rmsp_in1k", 0, "spnasnet_100-048bc3f4.pth"),
    ("tf_efficientnet_b0.ns_jft_in1k", 0, "tf_efficientnet_b0_ns-c0e6a31c.pth"),
    ("tf_efficientnet_b0.ap_in1k", 0, "tf_efficientnet_b0_ap-f262efe1.pth"),
    ("tf_efficientnet_b0.aa_in1k", 0, "tf_efficientnet_b0_aa-827b6e33.pth"),
    ("tf_efficientnet_b0.in1k", 3, "tf_efficientnet_b0-0af12548.pth"),
    ("tf_efficientnet_b1.ns_jft_in1k", 0, "tf_efficientnet_b1_ns-99dd0c41.pth"),
    ("tf_efficientnet_b1.ap_in1k", 0, "tf_efficientnet_b1_ap-44ef0a3d.pth"),
    ("tf_efficientnet_b1.aa_in1k", 0, "tf_efficientnet_b1_aa-ea7a6ee0.pth"),
    ("tf_efficientnet_b1.in1k", 3, "tf_efficientnet_b1-5c1377c4.pth"),
    ("tf_efficientnet_b2.ns_jft_in1k", 0, "tf_efficientnet_b2_ns-00306e48.pth"),
    ("tf_efficientnet_b2.ap_in1k", 0, "tf_efficientnet_b2_ap-2f8e7636.pth"),
    ("tf_efficientnet_b2.aa_in1k", 0, "tf_efficientnet_b2_aa-60c94f97.pth"),
    ("tf_efficientnet_b2.in1k", 3, "tf_efficientnet_b2-e393ef04.pth"),
    ("tf_efficientnet_b3.ns_jft_in1k", 0, "tf_efficientnet_b3_ns-9d44bf68.pth"),
    ("tf_efficientnet_b3.ap_in1k", 0, "tf_efficientnet_b3_ap-aad25bdd.pth"),
    ("tf_efficientnet_b3.aa_in1k", 0, "tf_efficientnet_b3_aa-84b4657e.pth"),
    ("tf_efficientnet_b3.in1k", 3, "tf_efficientnet_b3-e3bd6955.pth"),
    ("tf_efficientnet_b4.ns_jft_in1k", 0, "tf_efficientnet_b4_ns-d6313a46.pth"),
    ("tf_efficientnet_b4.ap_in1k", 0, "tf_efficientnet_b4_ap-dedb23e6.pth"),
    ("tf_efficientnet_b4.aa_in1k", 0, "tf_efficientnet_b4_aa-818f208c.pth"),
    ("tf_efficientnet_b4.in1k", 3, "tf_efficientnet_b4-74ee3bed.pth"),
    ("tf_efficientnet_b5.ns_jft_in1k", 0, "tf_efficientnet_b5_ns-6f26d0cf.pth"),
    ("tf_efficientnet_b5.ap_in1k", 0, "tf_efficientnet_b5_ap-9e82fae8.pth"),
    ("tf_efficientnet_b5.ra_in1k", 0, "tf_efficientnet_b5_ra-9a3e5369.pth"),
    ("tf_efficientnet_b5.aa_in1k", 3, "tf_efficientnet_b5_aa-99018a74.pth"),
    ("tf_efficientnet_b5.in1k", 3, "tf_efficientnet_b5-c6949ce9.pth"),
    ("tf_efficientnet_b6.ns_jft_in1k", 0, "tf_efficientnet_b6_ns-51548356.pth"),
    ("tf_efficientnet_b6.ap_in1k", 0, "tf_efficientnet_b6_ap-4ffb161f.pth"),
    ("tf_efficientnet_b6.aa_in1k", 0, "tf_efficientnet_b6_aa-80ba17e4.pth"),
    ("tf_efficientnet_b7.ns_jft_in1k", 0, "tf_efficientnet_b7_ns-1dbc32de.pth"),
    ("tf_efficientnet_b7.ap_in1k", 0, "tf_efficientnet_b7_ap-ddb28fec.pth"),
    ("tf_efficientnet_b7.ra_in1k", 0, "tf_efficientnet_b7_ra-6c08e654.pth"),
    ("tf_efficientnet_b7.aa_in1k", 3, "tf_efficientnet_b7_aa-076e3472.pth"),
    ("tf_efficientnet_b8.ap_in1k", 0, "tf_efficientnet_b8_ap-00e169fa.pth"),
    ("tf_efficientnet_b8.ra_in1k", 0, "tf_efficientnet_b8_ra-572d5dd9.pth"),
    ("tf_efficientnet_cc_b0_4e.in1k", 0, "tf_efficientnet_cc_b0_4e-4362b6b2.pth"),
    ("tf_efficientnet_cc_b0_8e.in1k", 0, "tf_efficientnet_cc_b0_8e-66184a25.pth"),
    ("tf_efficientnet_cc_b1_8e.in1k", 0, "tf_efficientnet_cc_b1_8e-f7c79ae1.pth"),
    ("tf_efficientnet_el.in1k", 0, "tf_efficientnet_el-5143854e.pth"),
    ("tf_efficientnet_em.in1k", 0, "tf_efficientnet_em-e78cfe58.pth"),
    ("tf_efficientnet_es.in1k", 0, "tf_efficientnet_es-ca1afbfe.pth"),
    ("tf_efficientnet_l2.ns_jft_in1k_475", 0, "tf_efficientnet_l2_ns_475-bebbd00a.pth"),
    ("tf_efficientnet_l2.ns_jft_in1k", 0, "tf_efficientnet_l2_ns-df73bb44.pth"),
    ("tf_efficientnet_lite0.in1k", 0, "tf_efficientnet_lite0-0aa007d2.pth"),
    ("tf_efficientnet_lite1.in1k", 0, "tf_efficientnet_lite1-bde8b488.pth"),
    ("tf_efficientnet_lite2.in1k", 0, "tf_efficientnet_lite2-dcccb7df.pth"),
    ("tf_efficientnet_lite3.in1k", 0, "tf_efficientnet_lite3-b733e338.pth"),
    ("tf_efficientnet_lite4.in1k", 0, "tf_efficientnet_lite4-741542c3.pth"),
    ("tf_efficientnetv2_b0.in1k", 1, "tf_efficientnetv2_b0-c7cc451f.pth"),
    ("tf_efficientnetv2_b1.in1k", 1, "tf_efficientnetv2_b1-be6e41b0.pth"),
    ("tf_efficientnetv2_b2.in1k", 1, "tf_efficientnetv2_b2-847de54e.pth"),
    ("tf_efficientnetv2_b3.in21k_ft_in1k", 0, ""),
    ("tf_efficientnetv2_b3.in1k", 1, "tf_efficientnetv2_b3-57773f13.pth"),
    ("tf_efficientnetv2_l.in21k_ft_in1k", 1, "tf_efficientnetv2_l_21ft1k-60127a9d.pth"),
    ("tf_efficientnetv2_l.in1k", 1, "tf_efficientnetv2_l-d664b728.pth"),
    ("tf_efficientnetv2_l.in21k", 1, "tf_efficientnetv2_l_21k-91a19ec9.pth"),
    ("tf_efficientnetv2_m.in21k_ft_in1k", 1, "tf_efficientnetv2_m_21ft1k-bf41664a.pth"),
    ("tf_efficientnetv2_m.in1k", 1, "tf_efficientnetv2_m-cc09e0cd.pth"),
    ("tf_efficientnetv2_m.in21k", 1, "tf_efficientnetv2_m_21k-361418a2.pth"),
    ("tf_efficientnetv2_s.in21k_ft_in1k", 1, "tf_efficientnetv2_s_21ft1k-d7dafa41.pth"),
    ("tf_efficientnetv2_s.in1k", 1, "tf_efficientnetv2_s-eb54923e.pth"),
    ("tf_efficientnetv2_s.in21k", 1, "tf_efficientnetv2_s_21k-6337ad01.pth"),
    ("tf_efficientnetv2_xl.in21k_ft_in1k", 1, "tf_efficientnetv2_xl_in21ft1k-06c35c48.pth"),
    ("tf_efficientnetv2_xl.in21k", 1, "tf_efficientnetv2_xl_in21k-fd7e8abf.pth"),
    ("tf_mixnet_l.in1k", 0, "tf_mixnet_l-6c92e0c8.pth"),
    ("tf_mixnet_m.in1k", 0, "tf_mixnet_m-0f4d8805.pth"),
    ("tf_mixnet_s.in1k", 0, "tf_mixnet_s-89d3354b.pth"),
    ("tinynet_a.in1k", 4, "tinynet_a.pth"),
    ("tinynet_b.in1k", 4, "tinynet_b.pth"),
    ("tinynet_c.in1k", 4, "tinynet_c.pth"),
    ("tinynet_d.in1k", 4, "tinynet_d.pth"),
    ("tinynet_e.in1k", 4, "tinynet_e.pth"),
    ("fbnetv3_b.ra2_in1k", 0, "fbnetv3_b_224-ead5d2a1.pth"),
    ("fbnetv3_d.ra2_in1k", 0, "fbnetv3_d_224-c98bce42.pth"),
    ("fbnetv3_g.ra2_in1k", 0, "fbnetv3_g_240-0b1df83b.pth"),
    ("lcnet_050.ra2_in1k", 0, "lcnet_050-f447553b.pth"),
    ("lcnet_075.ra2_in1k", 0, "lcnet_075-318cad2c.pth"),
    ("lcnet_100.ra2_in1k", 0, "lcnet_100-a929038c.pth"),
    ("mobilenetv3_large_100.ra_in1k", 0, "mobilenetv3_large_100_ra-f55367f5.pth"),
    ("mobilenetv3_large_100.miil_in21k_ft_in1k", 2, "mobilenetv3_large_100_1k_miil_78_0-66471c13.pth"),
    ("mobilenetv3_large_100.miil_in21k", 2, "mobilenetv3_large_100_in21k_miil-d71cc17b.pth"),
    ("mobilenetv3_rw.rmsp_in1k", 0, "mobilenetv3_100-35495452.pth"),
    ("mobilenetv3_small_050.lamb_in1k", 0, "mobilenetv3_small_050_lambc-4b7bbe87.pth"),
    ("mobilenetv3_small_075.lamb_in1k", 0, "mobilenetv3_small_075_lambc-384766db.pth"),
    ("mobilenetv3_small_100.lamb_in1k", 0, "mobilenetv3_small_100_lamb-266a294c.pth"),
    ("tf_mobilenetv3_large_075.in1k", 0, "tf_mobilenetv3_large_075-150ee8b0.pth"),
    ("tf_mobilenetv3_large_100.in1k", 0, "tf_mobilenetv3_large_100-427764d5.pth"),
    ("tf_mobilenetv3_large_minimal_100.in1k", 0, "tf_mobilenetv3_large_minimal_100-8596ae28.pth"),
    ("tf_mobilenetv3_small_075.in1k", 0, "tf_mobilenetv3_small_075-da427f52.pth"),
    ("tf_mobilenetv3_small_100.in1k", 0, "tf_mobilenetv3_small_100-37f49e2b.pth"),
    ("tf_mobilenetv3_small_minimal_100.in1k", 0, "tf_mobilenetv3_small_minimal_100-922a7843.pth"),
];

/// The address of a model's weights, by its name with or without a tag.
pub(super) fn address(name: &str) -> Option<String> {
    let name = name.strip_prefix("timm/").unwrap_or(name);
    let older = recipes::older().find(|(old, _)| old == name);
    let name = older.as_ref().map_or(name, |(_, new)| new);
    let known = |row: &&(&str, usize, &str)| {
        let rest = row.0.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let (_, release, file) = WEIGHTS.iter().find(known)?;
    let release = RELEASES[*release];
    (!file.is_empty()).then(|| format!("https://github.com/{release}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_has_the_first() {
        let file = |name: &str| Some(address(name)?.rsplit_once('/')?.1.to_string());
        for (name, found) in [
            ("efficientnet_b0", "efficientnet_b0_ra-3dd342df.pth"),
            (
                "timm/tf_efficientnet_b7",
                "tf_efficientnet_b7_ns-1dbc32de.pth",
            ),
            (
                "tf_efficientnet_b7.ap_in1k",
                "tf_efficientnet_b7_ap-ddb28fec.pth",
            ),
            (
                "tf_efficientnet_b7_ap",
                "tf_efficientnet_b7_ap-ddb28fec.pth",
            ),
        ] {
            assert_eq!(file(name).as_deref(), Some(found), "{name}");
        }
        for name in ["efficientnet_b8", "efficientnet", "tf_efficientnetv2_b3"] {
            assert_eq!(address(name), None, "{name}");
        }
        let model = |row: &(&str, usize, &str)| recipes::recipe(row.0.split('.').next()?);
        assert!(WEIGHTS.iter().all(|row| model(row).is_some()));
    }
}
