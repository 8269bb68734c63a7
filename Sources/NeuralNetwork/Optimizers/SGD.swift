import CKernels
import Tensors

/// Stochastic gradient descent, with momentum where it is asked for.
///
/// g ← gradient + weightDecay·p; v ← momentum·v + g (v = g at the first step); p ← p - learningRate·v, with Nesterov
/// p ← p - learningRate·(g + momentum·v). Sutskever et al., "On the importance of initialization and momentum in deep
/// learning", 2013, in the form of torch.optim.SGD.
struct SGD: Optimizer {
    static let type = "sgd"
    static let options = ["momentum", "weight_decay", "nesterov"]

    var learningRate: Double
    var momentum: Double
    var nesterov: Bool
    var weightDecay: Double

    init(learningRate: Double, momentum: Double, nesterov: Bool, weightDecay: Double) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weightDecay = weightDecay
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        self.init(
            learningRate: learningRate, momentum: try given.number("momentum") ?? 0,
            nesterov: try given.flag("nesterov") ?? false, weightDecay: try given.number("weight_decay") ?? 0)
    }

    var stateNames: [String] { momentum == 0 ? [] : ["momentum_buffer"] }

    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.kind = DEML_SGD
        kernel.learning_rate = Float(learningRate)
        kernel.momentum = Float(momentum)
        kernel.nesterov = nesterov
        kernel.weight_decay = Float(weightDecay)
        return kernel
    }

    func validate() throws(DeMLError) {
        try check("learning_rate", learningRate, learningRate >= 0)
        try check("momentum", momentum, momentum >= 0)
        try check("weight_decay", weightDecay, weightDecay >= 0)
        guard !nesterov || momentum > 0 else {
            throw DeMLError(.usage, "nesterov needs a momentum above 0", place: "optimizer")
        }
    }

    var values: [(key: String, value: OptimizerDescription.Value)] {
        [("momentum", .number(momentum)), ("weight_decay", .number(weightDecay)), ("nesterov", .flag(nesterov))]
    }
}

extension OptimizerDescription {
    /// Stochastic gradient descent with the options of torch.optim.SGD; weightDecay·p is added to the gradient.
    public static func sgd(
        learningRate: Double = 1e-3, momentum: Double = 0, nesterov: Bool = false, weightDecay: Double = 0
    ) -> OptimizerDescription {
        OptimizerDescription(
            SGD(learningRate: learningRate, momentum: momentum, nesterov: nesterov, weightDecay: weightDecay))
    }
}
