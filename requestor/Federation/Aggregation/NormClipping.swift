/// Norm clipping: a delta longer than `norm` is scaled down to that length.
///
/// McMahan, Ramage, Talwar, Zhang: "Learning Differentially Private Recurrent Language Models", ICLR 2018, section 2
/// (flat clipping). It bounds what any one client, broken or hostile, can do to the average.
///
///     delta ← delta · min(1, norm / ‖delta‖₂)
public struct NormClipping: Sendable {
    /// Above 0.
    public var norm: Double

    public init(norm: Double) {
        self.norm = norm
    }

    /// Shapes: `[parameters]` → `[parameters]`.
    public func clipped(_ update: Update) -> Update {
        guard update.norm > norm else { return update }
        let factor = norm / update.norm
        return Update(
            client: update.client, examples: update.examples, values: update.values.map { Float(Double($0) * factor) },
            workDone: update.workDone)
    }
}
