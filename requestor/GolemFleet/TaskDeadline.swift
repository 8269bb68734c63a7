import Fleets
import NeuralNetwork

/// How much a training computes, in multiply-adds. Speeds are kept in this unit, so that what was learned with one model
/// says something about another: a small network does 66,000 examples a second where a large one does 150.
///
/// Work = epochs × (examples × (3 × multiply-adds + `perActivation` × activations) + steps × `perParameter` × parameters):
/// forward, and backward to inputs and to weights; what is done to every activation; and the update once a step, which is
/// most of the work where batches are small.
package struct TrainingWork: Sendable, Equatable {
    package var multiplyAdds: Double

    /// What an activation costs beside the multiply-adds: it is written and read several times, forward and backward.
    static let perActivation = 10.0
    /// What a parameter costs in a step: its gradient is cleared and read, itself and the optimiser's state are changed.
    static let perParameter = 10.0

    package init(_ model: ModelDescription, examples: Int, batchSize: Int, epochs: Int) {
        let steps = (Double(examples) / Double(max(1, batchSize))).rounded(.up)
        let example =
            3 * Double(model.multiplyAdds)
            + Self.perActivation * (model.activationsPerExample + model.inputShape.reduce(1) { $0 * Double($1) })
        multiplyAdds =
            Double(epochs) * (Double(examples) * example + steps * Self.perParameter * Double(model.parameterCount))
    }

    /// The work of a job. A forward pass alone is counted as training is, which leaves room.
    init(_ job: FleetJob) {
        switch job.kind {
        case .train(let options):
            guard let steps = options.steps else {
                self.init(job.model, examples: job.examples, batchSize: options.batchSize, epochs: options.epochs)
                return
            }
            let examples = Double(steps) * Double(options.examplesPerStep(of: job.examples))
            self.init(
                job.model, examples: Int(exactly: examples) ?? .max, batchSize: options.batchSize, epochs: 1)
        case .predict(.text(let text)):
            // A pass for every token.
            self.init(job.model, examples: text.tokens, batchSize: text.tokens, epochs: 1)
        case .evaluate, .predict:
            self.init(job.model, examples: job.examples, batchSize: job.examples, epochs: 1)
        }
    }
}

/// How long a machine may take for one training, from what is known of its speed.
///
/// Limit = transfer time + patience × work / speed, between `least` and what the run allows. Speed is what this machine
/// has shown in this run; else the slowest that others have shown in it, or what is remembered of the provider, whichever
/// gives more time; where nothing is known the run's limit holds. Seconds are the machine's own: of time in which our daemon was
/// away, our computer could not keep up, or others moved files over the same line, only a part counts
/// (`DaemonWatch.timeNotTheirs`).
package struct TaskDeadline: Sendable, Equatable {
    /// How many times the expected duration is waited for, when the speed was measured in this run.
    package var patience = 5.0
    /// The same for a speed from earlier runs: with another model the same machine does two to five times as much or as
    /// little in a second, and another tenant may share it now.
    package var patienceWithMemory = 25.0
    /// No task is given less than so many seconds.
    package var least = 15.0
    /// Bytes a second below which a transfer counts as hanging.
    package var slowestTransfer = 100_000.0

    package init() {}

    /// What is known of speeds, in multiply-adds a second, transfers included.
    package struct Speeds: Sendable, Equatable {
        /// Of this machine in this run.
        package var own: Double?
        /// Of the slowest of all in this run.
        package var slowestOther: Double?
        /// Of this provider in earlier runs.
        package var remembered: Double?

        package init(own: Double? = nil, slowestOther: Double? = nil, remembered: Double? = nil) {
            self.own = own
            self.slowestOther = slowestOther
            self.remembered = remembered
        }
    }

    /// - Parameters:
    ///   - bytes: what must be moved, both ways.
    ///   - limit: seconds that the run allows.
    package func seconds(work: TrainingWork, bytes: Int, speeds: Speeds, limit: Double) -> Double {
        func time(_ speed: Double?, _ patience: Double) -> Double? {
            speed.flatMap { $0 > 0 ? patience * work.multiplyAdds / $0 : nil }
        }
        let fromOthers = [time(speeds.slowestOther, patience), time(speeds.remembered, patienceWithMemory)]
        guard let training = time(speeds.own, patience) ?? fromOthers.compactMap(\.self).max() else { return limit }
        return min(limit, max(least, training + transfer(of: bytes)))
    }

    /// Seconds that a training is likely to take, without patience; `nil` where nothing is known.
    package func expected(work: TrainingWork, speeds: Speeds) -> Double? {
        guard let speed = speeds.own ?? speeds.slowestOther ?? speeds.remembered, speed > 0 else { return nil }
        return work.multiplyAdds / speed
    }

    /// Seconds that a transfer may take.
    package func transfer(of bytes: Int) -> Double { Double(bytes) / slowestTransfer }
}
