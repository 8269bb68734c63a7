/// Norm clipping: a delta longer than `norm` is scaled down to that length.
///
/// McMahan, Ramage, Talwar, Zhang: "Learning Differentially Private Recurrent Language Models", ICLR 2018, section 2
/// (flat clipping). It bounds what any one client, broken or hostile, can do to the average.
///
///     delta ← delta · min(1, s · norm / ‖delta‖₂)
///
/// `s` is the share of its training that the client has done. The average divides a delta by it (see
/// ``FederatedAveraging``): what is bounded is what enters the average, not what came. A limit on the delta itself would let
/// a client that says it was stopped after one step of a thousand move the average a thousand times as far as one that did
/// all of them.
public struct NormClipping: Sendable {
    /// Above 0.
    public var norm: Double

    public init(norm: Double) {
        self.norm = norm
    }

    /// Shapes: `[parameters]` → `[parameters]`.
    public func clipped(_ update: Update) -> Update {
        let norm = norm * update.workDone
        guard update.norm > norm else { return update }
        let factor = norm / update.norm
        return Update(
            client: update.client, examples: update.examples, values: update.values.map { Float(Double($0) * factor) },
            workDone: update.workDone)
    }
}
