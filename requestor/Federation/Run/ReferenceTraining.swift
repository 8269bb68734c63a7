import Fleets
import Foundation
import NeuralNetwork
import Tensors
import Worker

/// Evaluates weights on test and validation set with all threads, on a thread of its own, with buffers that are made once.
final class SharedEvaluator: Sendable {
    private let plan: RunPlan
    private let box = EvaluatorBox()

    init(_ plan: RunPlan) {
        self.plan = plan
    }

    /// On the test set.
    /// - Parameter metrics: whether all measures are taken.
    func evaluate(_ weights: Weights, metrics: Bool = false) async throws -> Evaluation {
        try await onOwnThread(named: "evaluation") { [plan, box] in
            try box.evaluate(weights, plan.test, plan, metrics)
        }
    }

    /// On the validation set; nil where there is none.
    func validate(_ weights: Weights) async throws -> Evaluation? {
        guard let validation = plan.validation else { return nil }
        return try await onOwnThread(named: "validation") { [plan, box] in
            try box.evaluate(weights, validation, plan, false)
        }
    }

    /// The surest mistakes on the test set, where that is of pictures. What cannot be predicted is no reason to lose a run.
    func mistakes(_ weights: Weights) async throws -> [Mistake] {
        guard plan.model.loss == .crossEntropy, PictureShape(plan.model.inputShape) != nil else { return [] }
        return try await onOwnThread(named: "mistakes") { [plan, box] in
            do {
                return try Mistake.surest(of: plan.test, shape: plan.model.inputShape) { part in
                    try box.predict(weights, part, plan)
                }
            } catch is DeMLError {
                return []
            }
        }
    }
}

/// An `Evaluator` that is made when it is first needed, and used by one thread at a time.
private final class EvaluatorBox: @unchecked Sendable {
    // Only ever touched while holding the lock.
    private let lock = NSLock()
    private var evaluator: Evaluator?

    func evaluate(
        _ weights: Weights, _ examples: Examples, _ plan: RunPlan, _ metrics: Bool
    ) throws -> Evaluation {
        try lock.withLock { try made(plan).evaluate(weights, examples, metrics: metrics) }
    }

    func predict(_ weights: Weights, _ examples: Examples, _ plan: RunPlan) throws -> Tensor {
        try lock.withLock { try made(plan).predict(weights, examples) }
    }

    private func made(_ plan: RunPlan) throws -> Evaluator {
        let evaluator =
            try evaluator ?? Evaluator(model: plan.model, threads: plan.threads, examples: plan.test.count)
        self.evaluator = evaluator
        return evaluator
    }
}

/// The comparison: the same model, settings and number of passes without a federation, on this machine.
struct ReferenceTraining: Sendable {
    let plan: RunPlan
    /// That the federated run has made.
    let rounds: Int
    /// Passes over the examples: as many as the federated run has made.
    let passes: Int
    let evaluator: SharedEvaluator
    let journal: RunFeed

    /// Trains on all examples, or on the first client's, pass by pass with one optimiser, and looks at the test set after
    /// every pass.
    func train(_ reference: RunEvent.Reference) async throws -> ReferenceResult {
        let examples =
            switch reference {
            case .onePlace: plan.train
            case .oneShard: plan.train.subset(plan.parts[0])
            }
        journal.record(
            .comparisonStarted(
                RunEvent.ComparisonStarted(reference: reference, passes: passes, examples: examples.count)))
        var options = try plan.trainingOptions(round: 1, seed: plan.randomness.comparison(reference))
        options.epochs = 1
        options.steps = nil
        // There is nobody to stay near to.
        options.proximalMu = 0
        let rates = ReferenceRates(
            plan.configuration.training, rounds: rounds, passes: passes, examples: examples.count,
            ofClient: reference == .oneShard ? examples.count : examples.count / plan.parts.count)
        options.schedule = .constant
        let trainer = TrainerBox(
            try Trainer(weights: plan.initialWeights, options: options, threads: plan.threads))
        let stop = StopFlag()
        var result = ReferenceResult(accuracy: nil, loss: 0, seconds: 0, passes: passes, examples: examples.count)
        for pass in 1...passes {
            let (weights, seconds) = try await withTaskCancellationHandler {
                try await onOwnThread(named: "comparison") { try trainer.pass(examples, rates?.ofPass(pass), stop) }
            } onCancel: {
                stop.raise()
            }
            try Task.checkCancellation()
            result.seconds += seconds
            let evaluation = try await evaluator.evaluate(weights)
            result.accuracy = evaluation.accuracy
            result.loss = evaluation.loss
            result.curve.append(
                ReferenceResult.CurvePoint(pass: pass, accuracy: evaluation.accuracy, loss: evaluation.loss))
        }
        journal.record(.comparisonFinished(RunEvent.ComparisonFinished(reference: reference, result: result)))
        return result
    }
}

/// A trainer that goes from thread to thread.
private final class TrainerBox: @unchecked Sendable {
    // One pass at a time: the next begins after the one before has been awaited.
    private let trainer: Trainer

    init(_ trainer: Trainer) {
        self.trainer = trainer
    }

    func pass(_ examples: Examples, _ rate: ((Int) -> Double)?, _ stop: StopFlag) throws -> (Weights, Double) {
        let start = ContinuousClock.now
        _ = try trainer.train(on: examples, learningRate: rate, shouldStop: { stop.isUp })
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        return (trainer.weights, seconds)
    }
}
