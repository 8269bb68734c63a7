/// Small grey images as text, so that a prediction can be looked at where it was made.
public enum ImageArt {
    /// Shades from paper to ink for terminals without colour; two characters a pixel keep the proportions.
    private static let shades: [Character] = [" ", "░", "▒", "▓", "█"]

    /// `pixels` row by row, 0 (background) to 1 (ink), `[height][width]`. With colour two rows of pixels share a line
    /// of half blocks in 24 shades of grey; without, two rows share a line too, drawn with the mean of both.
    public static func lines(pixels: [Float], height: Int, width: Int, paint: Paint) -> [String] {
        guard height > 0, width > 0, pixels.count >= height * width else { return [] }
        func pixel(_ row: Int, _ column: Int) -> Float {
            guard row < height else { return 0 }
            let value = pixels[row * width + column]
            return value.isFinite ? min(1, max(0, value)) : 0
        }
        return stride(from: 0, to: height, by: 2).map { row in
            var line = ""
            for column in 0..<width {
                if paint.isOn {
                    // 232…255 are the terminal's 24 greys.
                    let upper = 232 + Int((pixel(row, column) * 23).rounded())
                    let lower = 232 + Int((pixel(row + 1, column) * 23).rounded())
                    line += "\u{1B}[38;5;\(upper);48;5;\(lower)m▀"
                } else {
                    let mean = (pixel(row, column) + pixel(row + 1, column)) / 2
                    line.append(shades[min(4, Int((mean * 4).rounded()))])
                }
            }
            return paint.isOn ? line + "\u{1B}[0m" : line
        }
    }

    /// Blocks of lines set side by side, `gap` blanks apart; shorter blocks are filled below.
    public static func beside(_ blocks: [[String]], gap: Int = 2) -> [String] {
        let height = blocks.map(\.count).max() ?? 0
        let widths = blocks.map { $0.map(TextWidth.of).max() ?? 0 }
        return (0..<height).map { row in
            zip(blocks, widths).map { block, width in
                TextWidth.padded(row < block.count ? block[row] : "", to: width)
            }.joined(separator: String(repeating: " ", count: gap)).trimmingTrailingBlanks()
        }
    }

    /// A bar of probabilities: `████▌     `, `width` columns.
    public static func bar(_ share: Double, width: Int) -> String {
        let parts: [Character] = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"]
        let eighths = Int((min(1, max(0, share.isFinite ? share : 0)) * Double(width * 8)).rounded())
        return String(
            (0..<width).map { index in parts[min(8, max(0, eighths - index * 8))] })
    }

    /// A bar of progress on its track: `━━━━━━────`.
    public static func progress(_ share: Double, width: Int, paint: Paint) -> String {
        let filled = Int((min(1, max(0, share.isFinite ? share : 0)) * Double(width)).rounded(.down))
        return paint(String(repeating: "━", count: filled), .cyan)
            + paint(String(repeating: "─", count: width - filled), .dim)
    }
}
