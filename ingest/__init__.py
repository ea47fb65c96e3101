"""In: from a FITS file on disk to a row of ivoa.obscore and an object in the store."""
