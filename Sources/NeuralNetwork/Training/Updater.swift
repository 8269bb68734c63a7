import CKernels
import Tensors

/// Leads from the gradients of a step's batches to its parameters.
///
/// Where nothing has to happen between, the kernels consume a gradient as they make it (`Network.Purpose.training`), and
/// only rate and number of the step are set here. Else the gradients are kept, and a step is: sum over its batches,
/// proximal term, clipping, optimiser. The optimiser does the same to each element either way, so that a second pass
/// that changes nothing changes no bit.
final class Updater {
    private let network: Network
    private let options: TrainingOptions
    private let storage = Storage()
    /// Sums over the batches of a step, as the parameters are ordered; empty where a step is one batch.
    private var sums: [UnsafeMutablePointer<Float>] = []
    /// What training began with, in the kernels' order; empty without a proximal term.
    private var received: [UnsafeMutablePointer<Float>] = []
    /// As long as the longest parameter; only for the proximal term.
    private var difference: UnsafeMutablePointer<Float>?

    /// What a network is to be made for, so that it can be trained with these options.
    static func purpose(_ options: TrainingOptions) -> Network.Purpose {
        let isOnePass = options.clipGradNorm == nil && options.accumulateSteps == 1 && options.proximalMu == 0
        return isOnePass ? .training(options.optimizer) : .trainingInTwoPasses(options.optimizer)
    }

    /// - Parameter network: made for this purpose, with the received weights loaded.
    init(_ network: Network, _ options: TrainingOptions) throws(DeMLError) {
        self.network = network
        self.options = options
        if options.accumulateSteps > 1 {
            for parameter in network.parameters { sums.append(try storage.floats(parameter.count)) }
        }
        guard options.proximalMu > 0 else { return }
        for parameter in network.parameters {
            let copy = try storage.floats(parameter.count)
            copy.update(from: parameter.values, count: parameter.count)
            received.append(copy)
        }
        difference = try storage.floats(network.parameters.map(\.count).max() ?? 0)
    }

    /// Before the first backward pass of a step: `number` steps have been done since training began.
    func begin(step number: Int) {
        network.optimizer.pointee.step = Int64(number) + 1
        guard options.schedule != .constant else { return }
        network.optimizer.pointee.learning_rate = Float(
            options.schedule.rate(options.optimizer.learningRate, at: number))
    }

    /// After the backward pass of a batch: the first of its step, the last, or both.
    /// Throws `notFinite` where the gradient that is to be clipped has no norm.
    func finishBatch(isFirst: Bool, isLast: Bool) throws(DeMLError) {
        guard case .trainingInTwoPasses = network.purpose else { return }
        let pool = network.pass.pool
        if !sums.isEmpty {
            let share = 1 / Float(options.accumulateSteps)
            for (parameter, sum) in zip(network.parameters, sums) {
                guard let gradient = parameter.gradient else { continue }
                deml_scale(pool, parameter.count, share, gradient)
                if isFirst {
                    sum.update(from: gradient, count: parameter.count)
                } else {
                    deml_add(pool, parameter.count, gradient, sum)
                }
            }
        }
        guard isLast else { return }
        addProximalTerm()
        try clip()
        for index in network.parameters.indices {
            let parameter = network.parameters[index]
            guard let gradient = gradient(index) else { continue }
            deml_optimizer_step(
                pool, network.optimizer, parameter.count, gradient, parameter.values, parameter.sink.pointee.state1,
                parameter.sink.pointee.state2)
        }
    }

    /// Of the whole step.
    private func gradient(_ index: Int) -> UnsafeMutablePointer<Float>? {
        sums.isEmpty ? network.parameters[index].gradient : sums[index]
    }

    /// gradient += µ·(weights - received weights). The difference first: it is small beside either.
    private func addProximalTerm() {
        guard let difference else { return }
        for index in network.parameters.indices {
            let parameter = network.parameters[index]
            guard let gradient = gradient(index) else { continue }
            deml_subtract(network.pass.pool, parameter.count, parameter.values, received[index], difference)
            deml_scale(network.pass.pool, parameter.count, Float(options.proximalMu), difference)
            deml_add(network.pass.pool, parameter.count, difference, gradient)
        }
    }

    /// torch.nn.utils.clip_grad_norm_: every gradient times min(1, max_norm/(norm of all + 1e-6)).
    private func clip() throws(DeMLError) {
        guard let maximum = options.clipGradNorm else { return }
        var squares = 0.0
        for index in network.parameters.indices {
            guard let gradient = gradient(index) else { continue }
            squares += deml_sum_of_squares(network.pass.pool, network.parameters[index].count, gradient)
        }
        let norm = squares.squareRoot()
        guard norm.isFinite else {
            throw DeMLError(
                .notFinite, "the gradient became \(norm) in training", hint: "try a lower learning rate")
        }
        let coefficient = maximum / (norm + 1e-6)
        guard coefficient < 1 else { return }
        for index in network.parameters.indices {
            guard let gradient = gradient(index) else { continue }
            deml_scale(network.pass.pool, network.parameters[index].count, Float(coefficient), gradient)
        }
    }
}
