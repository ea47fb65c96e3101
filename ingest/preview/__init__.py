"""Previews: a picture and a thumbnail of each image, spectrum and cube, made by a job after its file came in.

pictures.py draws arrays and plot.py curves, images.py and spectra.py read them from files, service.py keeps what was
drawn. Serving it is datalink's; which rows there are, archive.holdings.previews'.
"""
