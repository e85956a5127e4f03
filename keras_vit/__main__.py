"""`python -m keras_vit` is `keras-vit`."""

import sys

from keras_vit.cli.main import main

sys.exit(main())
