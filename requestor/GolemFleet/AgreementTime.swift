/// How a task fits into what is left of the agreement under which its machine is rented.
///
/// Agreements end: after a day, or after 25 minutes where an offer says nothing of debit notes. A machine whose agreement
/// would end within the task is exchanged for one with a new agreement, if that would help; a task that does not fit into
/// a new agreement either is cut where the run allows a part of the work to be delivered (`max_seconds`).
package struct AgreementTime: Sendable, Equatable {
    /// Seconds that the whole agreement had when the machine came.
    package var whole: Double
    /// Seconds that are left of it.
    package var left: Double

    /// Seconds under which nothing is begun any more.
    static let least = 120.0
    /// Seconds kept at the end, beside those for transfers, for starting the program and bringing everything home.
    static let margin = 30.0

    package init(whole: Double, left: Double) {
        self.whole = whole
        self.left = left
    }

    package enum Verdict: Sendable, Equatable {
        case fits
        /// Under a new agreement there would be more time.
        case exchange
        /// The worker must stop by itself after so many seconds.
        case cut(Double)
    }

    /// - Parameters:
    ///   - expected: seconds that the training is likely to take; `nil`: unknown.
    ///   - maxSeconds: after which the worker stops and delivers a part, where the run allows that.
    ///   - transfer: seconds that transfers may take.
    package func verdict(expected: Double?, maxSeconds: Double?, transfer: Double) -> Verdict {
        let room = left - transfer - Self.margin
        // Half of an agreement is enough of one: else machines would be rented and given back for ever.
        let canGain = left < whole / 2
        if left < Self.least, canGain { return .exchange }
        let need = min(expected ?? maxSeconds ?? 0, maxSeconds ?? .infinity)
        if need > room, canGain { return .exchange }
        if let maxSeconds, maxSeconds > room { return .cut(max(1, room)) }
        return .fits
    }
}
