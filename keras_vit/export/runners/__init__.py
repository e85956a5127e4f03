"""Programs that run as files in a process of their own, with one runtime each and nothing of this package.

A program `run_*.py` runs an exported file over images and measures it. All of them are called alike,

    python run_X.py FILE OUT.npz --images IMAGES.npy [--encoded FILES.npz] [--threads 2] [--first 50]

and keep the contract that `harness.py` implements: a program only says how its runtime loads the file, and what one
call is.

- IMAGES is (n, H, W, channels) uint8, pixels 0..255. FILES holds n image files as one array of bytes, `data`, and the
  n + 1 `offsets` where they start and end; given to programs whose format takes encoded files. `--first` limits n.
- Every call takes one image, or as many as the file's own static batch. The first image is run three times before
  anything is timed.
- While it runs, standard output gets a line `k/n` now and then and at the end, n counting the images of all signatures.
- For each signature (`serving_default` is the model alone, without decoding) a file `OUT.NAME.npy`, OUT without its
  ending, gets the outputs, float32 (n, ..., K): side by side along the last axis in the order of their names, where
  there are several. OUT gets `NAME.latency_ms`, float64, the time of each call; and for the whole `load_ms`, the time
  until the file is ready to be called in a runtime that is imported, and `peak_memory_bytes`, the most memory that
  loading and the first calls needed above what the bare runtime had; NaN where the system does not tell.
- Quantised inputs and outputs are converted by their own scale and zero point: what is stored is what the model means.
- The exit status is not 0 when the file does not run, or when the process was not clean: when this package, Keras or
  TensorFlow was imported by a runtime that does not need it.
"""
