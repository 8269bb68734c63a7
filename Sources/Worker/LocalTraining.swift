import Jobs
import NeuralNetwork
import Tensors

/// A training in memory, on this machine: what a worker does between reading and writing, and all that a simulated one
/// does.
public struct LocalTraining {
    private let weights: Weights
    private let examples: Examples
    private let options: TrainingOptions
    private let threads: Int
    private let instructionSet: InstructionSet?

    public init(
        weights: Weights, examples: Examples, options: TrainingOptions, threads: Int,
        instructionSet: InstructionSet? = nil
    ) {
        self.weights = weights
        self.examples = examples
        self.options = options
        self.threads = threads
        self.instructionSet = instructionSet
    }

    /// What came of it.
    public struct Done: Sendable {
        /// Local minus received weights, in the order of the model's parameters.
        public var parameters: [Float]
        /// Without digests: there are no files yet.
        public var receipt: Receipt.Training
    }

    /// Trains.
    /// - Parameters:
    ///   - start: when the job began, for its seconds.
    ///   - shouldStop: asked after each batch; training ends where it says true.
    /// - Throws: what `Trainer` throws, `notFinite` above all.
    public func perform(
        since start: ContinuousClock.Instant = .now, shouldStop: () -> Bool = { false },
        onEpoch: (EpochProgress) -> Void = { _ in }
    ) throws(DeMLError) -> Done {
        let trainer = try Trainer(
            weights: weights, options: options, threads: threads, instructionSet: instructionSet)
        var finished = 0
        let result = try trainer.train(
            on: examples, shouldStop: shouldStop,
            onEpoch: { epoch in
                finished += 1
                onEpoch(
                    EpochProgress(
                        epoch: finished, epochs: options.epochs, loss: epoch.loss, accuracy: epoch.accuracy,
                        samplesPerSecond: rate(epoch.examples, epoch.seconds)))
            })
        let parameters = trainer.weights.difference(from: weights)
        guard Tensor(shape: [parameters.count], floats: parameters).firstNonFinite() == nil else {
            throw DeMLError(
                .notFinite, "training diverged: after \(result.steps) steps the weights are no numbers any more",
                hint: "try a smaller learning rate")
        }
        return Done(
            parameters: parameters,
            receipt: Receipt.Training(
                examples: examples.count, steps: result.steps,
                epochs: result.epochs.map { Receipt.Epoch(loss: $0.loss, accuracy: $0.accuracy, seconds: $0.seconds) },
                stoppedEarly: !result.isComplete,
                machine: Receipt.Machine(
                    seconds: seconds(since: start), samplesPerSecond: rate(result.samples, result.seconds),
                    threads: threads, isa: trainer.instructionSet.rawValue)))
    }
}
