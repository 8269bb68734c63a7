extension StringProtocol {
    /// Text from outside (a provider's name, a worker's message) as one line that is safe to print and to keep: control
    /// characters, with them every escape sequence, and marks that turn the direction of writing become "�", so that
    /// nobody can repaint the user's terminal; what exceeds `maximum` characters is cut.
    package func harmless(maximum: Int) -> String {
        var text = String.UnicodeScalarView()
        for (index, scalar) in unicodeScalars.enumerated() {
            if index == maximum {
                text.append("…")
                break
            }
            let isHarmful =
                scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
                || (0x202a...0x202e).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
                || (0x2028...0x2029).contains(scalar.value)
            text.append(isHarmful ? "\u{fffd}" : scalar)
        }
        return String(text)
    }

    /// The same for text of several lines, whose ends stay.
    package func harmlessLines(maximum: Int) -> String {
        String(prefix(maximum)).split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.harmless(maximum: maximum) }.joined(separator: "\n")
    }
}
