extension RunReport {
    /// What came of the run, in a sentence: `97.71 %: 0.29 points below one place, 0.61 above one shard alone`; of a
    /// regression the losses. Empty while there is nothing to say.
    public var verdict: String {
        guard let federated = place(.federated) else { return standing }
        if federated.accuracy.isFinite {
            let others = compared(federated.accuracy, \.accuracy) { distance in
                Figures.decimal(abs(distance) * 100, digits: 2)
            }
            return Figures.percent(federated.accuracy) + sentenceEnd(others, unit: "points ")
        }
        guard federated.loss.isFinite else { return "The training has diverged." }
        let others = compared(federated.loss, \.loss) { distance in Figures.loss(abs(distance)) }
        return "Test loss " + Figures.loss(federated.loss) + sentenceEnd(others, unit: "")
    }

    /// Of a run that is not compared with anything (yet).
    private var standing: String {
        guard let last = rounds.last, last.number > 0 else { return "" }
        guard last.loss.isFinite else { return "The training has diverged." }
        let value = last.accuracy.isNaN ? "Test loss \(Figures.loss(last.loss))" : Figures.percent(last.accuracy)
        return "\(value) after round \(last.number)."
    }

    private func compared(
        _ own: Double, _ value: (Place) -> Double, _ written: (Double) -> String
    ) -> [(distance: String?, isAbove: Bool, name: String)] {
        [(Place.Kind.onePlace, "one place"), (.oneShard, "one shard alone")].compactMap { kind, name in
            guard let other = place(kind).map(value), other.isFinite else { return nil }
            let text = written(own - other)
            // What cannot be told apart in the digits that are shown is the same.
            return (text.contains { ("1"..."9").contains($0) } ? text : nil, own > other, name)
        }
    }

    private func sentenceEnd(_ others: [(distance: String?, isAbove: Bool, name: String)], unit: String) -> String {
        guard !others.isEmpty else { return "." }
        var unit = unit
        let parts = others.map { other in
            guard let distance = other.distance else { return "the same as \(other.name)" }
            defer { unit = "" }
            return "\(distance) \(unit)\(other.isAbove ? "above" : "below") \(other.name)"
        }
        return ": " + parts.joined(separator: ", ") + "."
    }
}
