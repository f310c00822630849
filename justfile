# A menu; everything is in `cargo xtask`.

default:
    @just --list

# serve the sample: a control plane, a site, a proposal that waits
up *ARGS:
    cargo run --release -- up {{ARGS}}

test *ARGS:
    cargo xtask test {{ARGS}}

# everything a change must pass
ci:
    .ci/run

tidy:
    cargo xtask tidy

# write what is generated: schemas, OpenAPI, docs/events.md
gen:
    cargo xtask gen

bench *ARGS:
    cargo xtask bench {{ARGS}}

fmt:
    cargo fmt --all
