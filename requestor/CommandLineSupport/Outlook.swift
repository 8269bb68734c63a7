import Reports

/// How long a run will go on, and the best so far. A pure value: finished rounds go in, a short text comes out.
public struct Outlook: Sendable, Equatable {
    /// Seconds of the newest rounds: an early one may have waited for machines.
    private var newest: [Double] = []
    private static let window = 5
    /// The best model so far, and of which round it is.
    public var best: String?

    public init() {}

    /// A round has ended after `seconds`.
    public mutating func finished(seconds: Double) {
        guard seconds.isFinite, seconds >= 0 else { return }
        newest.append(seconds)
        if newest.count > Self.window { newest.removeFirst() }
    }

    /// Seconds until the last round ends, after `elapsed` seconds of round `round` of `rounds`: by the median of the newest
    /// rounds. `nil` before there is one.
    public func secondsLeft(round: Int, of rounds: Int, elapsed: Double) -> Double? {
        guard !newest.isEmpty, rounds >= round else { return nil }
        let usual = newest.sorted()[newest.count / 2]
        return max(0, usual - elapsed) + (Double(rounds) - Double(round)) * usual
    }

    /// `about 2 min 05 s left   best 97.11 % in round 4`; empty while nothing is known.
    public func text(round: Int, of rounds: Int, elapsed: Double) -> String {
        var parts: [String] = []
        if let left = secondsLeft(round: round, of: rounds, elapsed: elapsed) {
            // Tenths of a second would only flicker.
            let text = left < 59.5 ? "\(Int(saturating: left.rounded(.up))) s" : Figures.duration(left.rounded())
            parts.append("about \(text) left")
        }
        if let best { parts.append("best " + best) }
        return parts.joined(separator: "   ")
    }
}
