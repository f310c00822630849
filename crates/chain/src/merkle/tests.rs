//! The tree against a naive one, and against published vectors.

use super::*;
use proptest::prelude::*;

/// RFC 6962 section 2.1, word for word.
fn naive_root(leaves: &[Node]) -> Node {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) =
                leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// RFC 6962 section 2.1.1, word for word.
fn naive_path(index: usize, leaves: &[Node]) -> Vec<Node> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
    let (mut path, other) = if index < left.len() {
        (naive_path(index, left), right)
    } else {
        (naive_path(index - left.len(), right), left)
    };
    path.push(naive_root(other));
    path
}

/// RFC 6962 section 2.1.2, word for word.
fn naive_subproof(old: usize, leaves: &[Node], whole: bool) -> Vec<Node> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
    let (mut proof, other) = if old <= left.len() {
        (naive_subproof(old, left, whole), right)
    } else {
        (naive_subproof(old - left.len(), right, false), left)
    };
    proof.push(naive_root(other));
    proof
}

fn answer(plan: &[Step], leaves: &[Node]) -> Vec<Node> {
    let subtree = |subtree: &Subtree| {
        let start = usize::try_from(subtree.index << subtree.level).unwrap();
        naive_root(&leaves[start..start + (1 << subtree.level)])
    };
    plan.iter()
        .map(|step| fold(&step.iter().map(subtree).collect::<Vec<_>>()))
        .collect()
}

fn leaves(count: usize) -> Vec<Node> {
    (0..count)
        .map(|index| leaf_hash(&index.to_be_bytes()))
        .collect()
}

fn hex(text: &str) -> Node {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// The leaves and roots that the tests of Certificate Transparency publish.
#[test]
fn roots_of_certificate_transparency() {
    let data = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Frontier::new();
    assert_eq!(tree.root(), hex(roots[0]));
    for (data, root) in data.iter().zip(&roots[1..]) {
        tree.push(leaf_hash(&hex::decode(data).unwrap()));
        assert_eq!(tree.root(), hex(root));
    }
}

#[test]
fn small_trees_agree_with_the_naive_ones() {
    for size in 0..66_usize {
        let leaves = leaves(size);
        let mut tree = Frontier::new();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let root = naive_root(&leaves);
        assert_eq!(tree.root(), root);
        assert_eq!(answer(&[root_plan(size as u64)], &leaves)[0], root);
        for index in 0..size {
            let proof = answer(&inclusion_plan(index as u64, size as u64).unwrap(), &leaves);
            assert_eq!(proof, naive_path(index, &leaves));
            assert_eq!(
                verify_inclusion(&leaves[index], index as u64, size as u64, &proof, &root),
                Ok(())
            );
        }
        for old in 0..=size {
            let proof = answer(&consistency_plan(old as u64, size as u64).unwrap(), &leaves);
            if old > 0 {
                assert_eq!(proof, naive_subproof(old, &leaves, true));
            }
            assert_eq!(
                verify_consistency(
                    old as u64,
                    size as u64,
                    &naive_root(&leaves[..old]),
                    &root,
                    &proof
                ),
                Ok(())
            );
        }
    }
    assert_eq!(inclusion_plan(5, 5), None);
    assert_eq!(consistency_plan(6, 5), None);
}

proptest! {
    #[test]
    fn no_other_proof_verifies(size in 2_usize..200, index in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let leaves = leaves(size);
        let (index, root) = (index.index(size), naive_root(&leaves));
        let (at, count) = (index as u64, size as u64);
        let proof = answer(&inclusion_plan(at, count).unwrap(), &leaves);
        let mut other = proof.clone();
        if cut { other.pop(); } else { other.push(root); }
        prop_assert!(verify_inclusion(&leaves[index], at, count, &other, &root).is_err());
        let mut other = proof.clone();
        let place = flip.index(other.len());
        other[place][0] ^= 1;
        prop_assert_eq!(verify_inclusion(&leaves[index], at, count, &other, &root), Err(Error::Root));
        prop_assert!(verify_inclusion(&leaves[(index + 1) % size], at, count, &proof, &root).is_err());
        prop_assert_eq!(verify_inclusion(&leaves[index], count, count, &proof, &root), Err(Error::Range));

        let old = 1 + index % (size - 1);
        let old_root = naive_root(&leaves[..old]);
        let proof = answer(&consistency_plan(old as u64, count).unwrap(), &leaves);
        let mut other = proof.clone();
        let place = flip.index(other.len());
        other[place][0] ^= 1;
        prop_assert!(verify_consistency(old as u64, count, &old_root, &root, &other).is_err());
        let mut other = proof.clone();
        if cut { other.pop(); } else { other.push(root); }
        prop_assert!(verify_consistency(old as u64, count, &old_root, &root, &other).is_err());
        prop_assert!(verify_consistency(old as u64, count, &root, &root, &proof).is_err());
    }

    #[test]
    fn a_frontier_names_the_subtrees_that_it_completes(size in 1_usize..400) {
        let leaves = leaves(size);
        let mut tree = Frontier::new();
        for leaf in &leaves {
            let mut completed = Vec::new();
            tree.push_completing(*leaf, |level, index, node| completed.push((level, index, node)));
            for (level, index, node) in completed {
                let start = usize::try_from(index << level).unwrap();
                prop_assert_eq!(node, naive_root(&leaves[start..start + (1 << level)]));
            }
        }
        let snapshot: Frontier = serde_json::from_str(&serde_json::to_string(&tree).unwrap()).unwrap();
        prop_assert_eq!(snapshot.root(), naive_root(&leaves));
    }
}
