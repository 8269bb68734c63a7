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

    /// What a network is to be made for, so that it can be trained with these options.
    static func purpose(_ options: TrainingOptions) -> Network.Purpose {
        let accumulates = options.accumulateSteps > 1
        let isProximal = options.proximalMu > 0
        return options.clipGradNorm == nil && !accumulates && !isProximal
            ? .training(options.optimizer)
            : .trainingInTwoPasses(options.optimizer, accumulates: accumulates, isProximal: isProximal)
    }

    /// - Parameter network: made for this purpose, with the received weights loaded.
    init(_ network: Network, _ options: TrainingOptions) {
        self.network = network
        self.options = options
        for parameter in network.parameters {
            parameter.received?.update(from: parameter.values, count: parameter.count)
        }
    }

    /// Before the first backward pass of a step: `number` steps have been done since training began.
    /// - Parameter rate: the learning rate; nil: that of the schedule.
    func begin(step number: Int, rate: Double?) {
        network.optimizer.pointee.step = Int64(number) + 1
        guard rate != nil || options.schedule != .constant else { return }
        network.optimizer.pointee.learning_rate = Float(
            rate ?? options.schedule.rate(options.optimizer.learningRate, at: number))
    }

    /// After the backward pass of a batch: the first of its step, the last, or both.
    /// Throws `notFinite` where the gradient that is to be clipped has no norm.
    func finishBatch(isFirst: Bool, isLast: Bool) throws(DeMLError) {
        guard case .trainingInTwoPasses = network.purpose else { return }
        let pool = network.pass.pool
        let share = 1 / Float(options.accumulateSteps)
        for parameter in network.parameters {
            guard let gradient = parameter.gradient, let sum = parameter.sum else { continue }
            deml_scale(pool, parameter.count, share, gradient)
            if isFirst {
                sum.update(from: gradient, count: parameter.count)
            } else {
                deml_add(pool, parameter.count, gradient, sum)
            }
        }
        guard isLast else { return }
        addProximalTerm()
        try clip()
        for parameter in network.parameters {
            guard let gradient = parameter.stepGradient else { continue }
            deml_optimizer_step(
                pool, network.optimizer, parameter.count, gradient, parameter.values, parameter.sink.pointee.state1,
                parameter.sink.pointee.state2)
        }
    }

    /// gradient += µ·(weights - received weights). The difference first: it is small beside either.
    private func addProximalTerm() {
        guard let difference = network.difference else { return }
        for parameter in network.parameters {
            guard let gradient = parameter.stepGradient, let received = parameter.received else { continue }
            deml_subtract(network.pass.pool, parameter.count, parameter.values, received, difference)
            deml_scale(network.pass.pool, parameter.count, Float(options.proximalMu), difference)
            deml_add(network.pass.pool, parameter.count, difference, gradient)
        }
    }

    /// torch.nn.utils.clip_grad_norm_: every gradient times min(1, max_norm/(norm of all + 1e-6)).
    private func clip() throws(DeMLError) {
        guard let maximum = options.clipGradNorm else { return }
        var squares = 0.0
        for parameter in network.parameters {
            guard let gradient = parameter.stepGradient else { continue }
            squares += deml_sum_of_squares(network.pass.pool, parameter.count, gradient)
        }
        let norm = squares.squareRoot()
        guard norm.isFinite else {
            throw DeMLError(
                .notFinite, "the gradient became \(norm) in training", hint: "try a lower learning rate")
        }
        let coefficient = maximum / (norm + 1e-6)
        guard coefficient < 1 else { return }
        for parameter in network.parameters {
            guard let gradient = parameter.stepGradient else { continue }
            deml_scale(network.pass.pool, parameter.count, Float(coefficient), gradient)
        }
    }
}
