/// How long a machine may take for one training, from what is known of its speed.
///
/// Limit = transfer time + `patience` × examples × epochs / speed, between `least` and what the run allows. Speed is what
/// this provider has shown, else the slowest that others have shown in this run, else unknown: then the run's limit holds.
package struct TaskDeadline: Sendable, Equatable {
    /// How many times the expected duration is waited for.
    package var patience = 5.0
    /// No task is given less than so many seconds.
    package var least = 15.0
    /// Bytes a second below which a transfer counts as hanging.
    package var slowestTransfer = 100_000.0

    package init() {}

    /// - Parameters:
    ///   - work: examples times epochs.
    ///   - bytes: what must be moved, both ways.
    ///   - own: samples a second of this provider, if measured.
    ///   - others: samples a second of the others in this run.
    ///   - limit: seconds that the run allows.
    package func seconds(work: Int, bytes: Int, own: Double?, others: [Double], limit: Double) -> Double {
        guard let speed = own ?? others.min(), speed > 0 else { return limit }
        let expected = patience * Double(work) / speed + Double(bytes) / slowestTransfer
        return min(limit, max(least, expected))
    }
}
