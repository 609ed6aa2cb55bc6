// A picture of the game on a canvas: decoded off the main thread, drawn in order, and only the newest where it cannot keep up.

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.drawn = 0;
    this.asked = 0;
    this.png = null;
  }
  // Draw a PNG; return its bitmap, or null where a newer picture was drawn first.
  async show(png) {
    const number = ++this.asked;
    const bitmap = await createImageBitmap(png);
    if (number < this.drawn) return null;
    this.drawn = number;
    this.png = png;
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    }
    this.context.drawImage(bitmap, 0, 0);
    return bitmap;
  }
}

export function save(blob, name) {
  const link = document.createElement("a"), url = URL.createObjectURL(blob);
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 30000);
}
