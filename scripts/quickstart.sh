#!/usr/bin/env bash
# The whole job on real images, from nothing but Python 3.11+: installs into .venv, trains on the embedded digits,
# tests, exports, and runs every exported file. Usage: scripts/quickstart.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" ""
run=saved_models/quickstart
.venv/bin/keras-vit train --recipe recipes/digits.yaml --out "$run" --overwrite
.venv/bin/keras-vit evaluate "$run"
.venv/bin/keras-vit export "$run"
cat <<END

the model          $run/model.keras
exported files     $run/export/
the report         $run/report.html
curves             .venv/bin/tensorboard --logdir $run/logs
next, your photos  .venv/bin/keras-vit train --data photos/ --model vit_s16 --out saved_models/mine
END
