/// What a model is worth on the set that models are chosen by, and the one rule by which one is better than another: the
/// higher accuracy; of equal accuracies, and where there is none, the lower loss. What is not a number is never better.
///
/// Rounds of a run, runs beside each other and the lines of a display all ask here, so that "best" is the same everywhere;
/// of equals the first stays the best.
public struct Merit: Sendable, Equatable {
    /// Between 0 and 1; `nil` for a regression.
    public var accuracy: Double?
    public var loss: Double

    public init(accuracy: Double?, loss: Double) {
        self.accuracy = accuracy.flatMap { $0.isNaN ? nil : $0 }
        self.loss = loss
    }

    public func isBetter(than other: Merit) -> Bool {
        if loss.isNaN || other.loss.isNaN { return !loss.isNaN }
        if (accuracy == nil) != (other.accuracy == nil) { return accuracy != nil }
        if let accuracy, let others = other.accuracy, accuracy != others { return accuracy > others }
        return loss < other.loss
    }

    /// The position of the best; of equals the first. `nil` where no loss is a number.
    public static func best(of merits: [Merit]) -> Int? {
        var best: Int?
        for (index, merit) in merits.enumerated() where !merit.loss.isNaN {
            if best.map({ merit.isBetter(than: merits[$0]) }) ?? true { best = index }
        }
        return best
    }
}

extension RoundMetrics {
    /// Of the model on the set that the best one is chosen by.
    public var merit: Merit { Merit(accuracy: chosenBy.accuracy, loss: chosenBy.loss) }

    /// The round of `best.safetensors`, of a run's rounds in their order.
    public static func best(of rounds: [RoundMetrics]) -> RoundMetrics? {
        Merit.best(of: rounds.map(\.merit)).map { rounds[$0] }
    }
}

extension Summary {
    /// The position of the run whose last model is the best.
    public static func best(of summaries: [Summary]) -> Int? {
        Merit.best(of: summaries.map { Merit(accuracy: $0.accuracy, loss: $0.loss) })
    }
}
