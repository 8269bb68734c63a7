/// The bottom lines of a terminal that are rewritten in place, with ordinary lines scrolling above. A pure value: each
/// call gives the text to write.
public struct LiveRegion: Sendable {
    private var drawn = 0

    public init() {}

    /// Rewrites the region; lines must fit the terminal's width, or the terminal would break them and the count of
    /// lines to go back would be wrong.
    public mutating func draw(_ lines: [String]) -> String {
        let text = erased() + lines.map { $0 + "\n" }.joined()
        drawn = lines.count
        // Between the two sequences the terminal shows nothing of the change (synchronised output, where known).
        return "\u{1B}[?2026h" + text + "\u{1B}[?2026l"
    }

    /// Writes ordinary lines above the region and draws it anew below them.
    public mutating func print(_ lines: [String], above region: [String]) -> String {
        let text = erased() + lines.map { $0 + "\n" }.joined()
        drawn = 0
        return text + draw(region)
    }

    /// Takes the region away, at the end or before an error message.
    public mutating func clear() -> String {
        let text = erased()
        drawn = 0
        return text
    }

    private func erased() -> String {
        drawn == 0 ? "" : "\u{1B}[\(drawn)A\r\u{1B}[J"
    }
}
