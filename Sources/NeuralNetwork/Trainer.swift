import CKernels
import Tensors

/// One pass over the examples, as it went while training (with dropout, each batch before its step).
public struct EpochResult: Sendable, Equatable, Codable {
    /// Mean over the examples seen.
    public var loss: Double
    /// Share of the examples (or of their labels, where each has several) that were classified right; nil for a regression.
    public var accuracy: Double?
    public var seconds: Double
    /// Examples seen: fewer than there are if training was stopped in this epoch.
    public var examples: Int
}

/// Where training stands after a batch.
public struct BatchProgress: Sendable {
    /// From 0, since training began (or began again after its end).
    public var epoch: Int
    /// Steps done in all these epochs.
    public var step: Int
    /// Examples of this epoch seen so far.
    public var examples: Int
    /// Examples of an epoch.
    public var total: Int
    /// Mean over the examples of this epoch seen so far.
    public var loss: Double
    /// Since the epoch began.
    public var seconds: Double
}

/// What training did.
public struct TrainingResult: Sendable, Equatable {
    /// Size of the set.
    public var examples: Int
    /// Examples trained on, each as often as it was.
    public var samples: Int
    /// Of the optimiser.
    public var steps: Int
    public var epochs: [EpochResult]
    public var seconds: Double
    /// False if it was stopped before the last batch.
    public var isComplete: Bool
}

/// Trains a model on examples by stochastic gradient descent.
///
/// Same weights, examples, options: same result, byte for byte, with any number of threads and on any machine. To be
/// used by one caller at a time; any number of trainers may run side by side. After an error it is of no more use.
public final class Trainer {
    public let options: TrainingOptions
    public let instructionSet: InstructionSet
    private let model: ModelDescription
    private let round: Int
    private let labelsTokens: Bool
    private let kernels: KernelPool
    private let elapsed: () -> Duration
    /// What the network begins with, until there is one.
    private var received: [Float]
    private var resumed: TrainerState?
    private var session: Session?
    private var position = TrainingPosition()

    /// What is made when the size of the batches is known.
    private struct Session {
        let network: Network
        let objective: Objective
        let updater: Updater
        let batch: ExampleBatch
        let augmenter: Augmenter?
    }

    /// - Parameters:
    ///   - threads: those that share the work of a batch, at least 1.
    ///   - instructionSet: nil for the fastest.
    ///   - state: of a training with these weights and options that was stopped: it is gone on with as if nothing had
    ///     been. `weights` are those that it began with.
    ///   - clock: for the seconds in the results.
    ///
    /// Throws `mismatch` for a state that is not of this training.
    public init(
        weights: Weights, options: TrainingOptions, resuming state: TrainerState? = nil, threads: Int = 1,
        instructionSet: InstructionSet? = nil, clock: some Clock<Duration> = ContinuousClock()
    ) throws(DeMLError) {
        try options.validate(for: weights.model)
        self.options = options
        model = weights.model
        round = weights.round
        labelsTokens = weights.model.labelsTokens
        received = weights.parameters
        if let state {
            try state.check(weights.model, options)
            resumed = state
            position = state.position
        }
        kernels = try KernelPool(threads: threads, instructionSet: instructionSet)
        self.instructionSet = kernels.instructionSet
        let start = clock.now
        elapsed = { start.duration(to: clock.now) }
    }

    /// The weights as they are now.
    public var weights: Weights {
        Weights(
            unchecked: model, round: round,
            session?.network.parameterValues() ?? resumed?.weights.parameters ?? received)
    }

    /// Epochs that are complete, of the training in hand.
    public var epochs: Int { position.epochs.count }

    /// Where training stands between two calls of `train`: enough to go on with it in another trainer.
    public var state: TrainerState {
        var arrays: [String: [Float]] = [:]
        for (index, name) in options.optimizer.stateNames.enumerated() {
            arrays[name] =
                session?.network.collect { $0.state(index) ?? $0.values }
                ?? resumed?.arrays[name] ?? [Float](repeating: 0, count: model.parameterCount)
        }
        return TrainerState(weights: weights, arrays: arrays, position: position, options: options)
    }

    /// Trains for `options.epochs` passes, or `options.steps` steps. Called again after it was stopped, it goes on with the next step, as if
    /// nothing had been, and its result is that of the whole; called again after the end, it trains for as long
    /// again: the optimiser's state and the number of the epoch (of which shuffling and dropout depend) are kept.
    ///
    /// The order of epoch `e` is 0 ..< count shuffled by `SeededGenerator(seed: seed, purpose: "shuffle", e)`.
    /// - Parameters:
    ///   - learningRate: of a step that begins when so many examples of the epoch have been seen, in place of the
    ///     options' and their schedule; nil: theirs.
    ///   - shouldStop: asked after each step; training ends where it says true.
    ///   - onEpoch: told of each epoch when it is complete, and of the one that ends with the last step.
    /// Throws `notFinite` as soon as the loss or, at the end, a weight is no finite number; `mismatch` where the set has
    /// another size than the one that training was stopped with; what reading the examples throws.
    public func train(
        on examples: some ExampleSource, learningRate: ((_ seen: Int) -> Double)? = nil,
        shouldStop: () -> Bool = { false },
        onBatch: (BatchProgress) -> Void = { _ in },
        onEpoch: (EpochResult) -> Void = { _ in }
    ) throws(DeMLError) -> TrainingResult {
        guard examples.count > 0 else { throw DeMLError(.missing, "there are no examples to train on") }
        if position.isAtBeginning { position.examples = examples.count }
        guard position.examples == examples.count else {
            throw DeMLError(
                .mismatch,
                "training was stopped with \(position.examples) examples and cannot go on with \(examples.count)")
        }
        try checkBatches(of: examples.count)
        let session = try session(for: min(options.batchSize, examples.count))
        let start = elapsed()
        let secondsBefore = position.seconds
        var isStopped = false
        while !position.isComplete(options), !isStopped {
            isStopped = try run(session, examples, try order(examples.count), learningRate, shouldStop, onBatch)
            if position.seen == examples.count || position.seen > 0 && position.isComplete(options) {
                let epoch = result(ofEpoch: position)
                position.finishEpoch(epoch)
                onEpoch(epoch)
            }
        }
        guard session.network.isFinite else {
            throw DeMLError(.notFinite, "a weight became infinite in training", hint: "try a lower learning rate")
        }
        position.seconds = secondsBefore + (elapsed() - start).seconds
        let isComplete = position.isComplete(options)
        let result = TrainingResult(
            examples: examples.count, samples: position.samples, steps: position.steps,
            epochs: position.epochs + (position.seen > 0 ? [result(ofEpoch: position)] : []),
            seconds: position.seconds, isComplete: isComplete)
        if isComplete { position.beginAgain() }
        return result
    }

    /// What is left of one epoch; true if it was stopped.
    private func run(
        _ session: Session, _ examples: some ExampleSource, _ order: [UInt32]?, _ learningRate: ((Int) -> Double)?,
        _ shouldStop: () -> Bool, _ onBatch: (BatchProgress) -> Void
    ) throws(DeMLError) -> Bool {
        let (network, objective) = (session.network, session.objective)
        let start = elapsed()
        let secondsBefore = position.epochSeconds
        let total = examples.count
        network.pass.seed = options.seed
        network.pass.epoch = UInt32(truncatingIfNeeded: position.allEpochs)
        while position.seen < total {
            network.pass.step = UInt32(truncatingIfNeeded: position.batches)
            let count = min(options.batchSize, total - position.seen)
            let isFirst = position.batches % options.accumulateSteps == 0
            let isLast =
                (position.batches + 1) % options.accumulateSteps == 0 || position.seen + count == total
            let seen = position.seen
            try session.batch.load(count, of: examples) { index in
                if let order { Int(order[seen + index]) } else { seen + index }
            }
            session.augmenter?.apply(epoch: network.pass.epoch, place: seen)
            network.forward()
            let batch = objective.compare()
            guard batch.loss.isFinite else {
                throw DeMLError(
                    .notFinite,
                    "the loss became \(batch.loss) in epoch \(position.epochs.count + 1), batch \(position.batches + 1)",
                    hint: "try a lower learning rate, or scale the inputs (divide_by)")
            }
            if isFirst { session.updater.begin(step: position.allSteps, rate: learningRate?(seen)) }
            network.backward()
            try session.updater.finishBatch(isFirst: isFirst, isLast: isLast)
            position.add(batch, examples: count, isStep: isLast, countsLabels: labelsTokens)
            position.epochSeconds = secondsBefore + (elapsed() - start).seconds
            onBatch(
                BatchProgress(
                    epoch: position.epochs.count, step: position.steps, examples: position.seen, total: total,
                    loss: position.lossSum / Double(position.seen), seconds: position.epochSeconds))
            // Between the batches of a step there is nothing to stop at: their sum would be lost.
            if isLast, shouldStop() { return true }
            if isLast, position.steps == options.steps { return false }
        }
        return false
    }

    /// Refuses batches that the model cannot be trained on, as torch does. Throws `usage`.
    private func checkBatches(of examples: Int) throws(DeMLError) {
        let rest = examples % options.batchSize
        let smallest = rest > 0 ? rest : options.batchSize
        guard smallest < model.leastBatch else { return }
        throw DeMLError(
            .usage,
            "batch_norm cannot be trained on a batch of \(smallest), and \(examples) examples in batches of \(options.batchSize) leave one",
            place: "options", hint: "take another batch_size, or group_norm")
    }

    private func result(ofEpoch position: TrainingPosition) -> EpochResult {
        EpochResult(
            loss: position.lossSum / Double(position.seen),
            accuracy: model.loss == .crossEntropy
                ? Double(position.correct) / Double(max(1, position.compared ?? position.seen)) : nil,
            seconds: position.epochSeconds, examples: position.seen)
    }

    /// The network, made when its batches are known. A larger set than before may need a larger one.
    private func session(for batch: Int) throws(DeMLError) -> Session {
        if let session, session.network.batchCapacity >= batch { return session }
        if session != nil {
            throw DeMLError(
                .usage, "a trainer cannot go on with larger batches", hint: "train on the larger set first")
        }
        let network = try Network(
            model: model, purpose: Updater.purpose(options), batchCapacity: batch, kernels: kernels)
        network.load(received)
        let objective = Objective(
            network, labelSmoothing: options.labelSmoothing, classWeights: options.classWeights)
        let made = Session(
            network: network, objective: objective, updater: Updater(network, options),
            batch: ExampleBatch(network, objective),
            augmenter: options.augmentation.flatMap {
                $0.isEmpty ? nil : Augmenter($0, network, seed: options.seed)
            })
        if let resumed {
            network.load(resumed.weights.parameters)
            for (index, name) in options.optimizer.stateNames.enumerated() {
                network.load(resumed.arrays[name] ?? []) { $0.state(index) ?? $0.values }
            }
        }
        received = []
        resumed = nil
        session = made
        return made
    }

    /// The examples in the order in which this epoch takes them; nil where that is their own.
    private func order(_ count: Int) throws(DeMLError) -> [UInt32]? {
        guard options.shuffle else { return nil }
        guard count < 1 << 20 || count <= UInt32.max && count < availableMemory() / 8 else {
            throw DeMLError(
                .tooLarge, "the order of \(count) examples needs more memory than there is",
                hint: "train on smaller shards, or without shuffling")
        }
        var order = Array(0..<UInt32(count))
        var generator = SeededGenerator(
            seed: options.seed, purpose: "shuffle", UInt32(truncatingIfNeeded: position.allEpochs))
        generator.shuffle(&order)
        return order
    }
}
