import CKernels
import Tensors

/// Chen et al., "Symbolic discovery of optimization algorithms", 2023 (arXiv 2302.06675): names and defaults of the
/// authors' own program, which torch.optim has none of.
///
/// p ← p·(1 - learningRate·weightDecay); p ← p - learningRate·sign(β₁·m + (1-β₁)·gradient); m ← β₂·m + (1-β₂)·gradient.
struct Lion: Optimizer {
    static let type = "lion"
    static let options = ["betas", "weight_decay"]
    static let standardLearningRate = 1e-4
    static let standardBetas = (0.9, 0.99)

    var learningRate: Double
    var betas: (Double, Double)
    var weightDecay: Double

    init(learningRate: Double, betas: (Double, Double), weightDecay: Double) {
        self.learningRate = learningRate
        self.betas = betas
        self.weightDecay = weightDecay
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        self.init(
            learningRate: learningRate, betas: try given.pair("betas") ?? Self.standardBetas,
            weightDecay: try given.number("weight_decay") ?? 0)
    }

    var stateNames: [String] { ["exp_avg"] }

    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.kind = DEML_LION
        kernel.learning_rate = Float(learningRate)
        kernel.beta1 = Float(betas.0)
        kernel.beta2 = Float(betas.1)
        kernel.weight_decay = Float(weightDecay)
        return kernel
    }

    func validate() throws(DeMLError) {
        try check("learning_rate", learningRate, learningRate >= 0)
        try check("betas", betas.0, betas.0 >= 0 && Float(betas.0) < 1)
        try check("betas", betas.1, betas.1 >= 0 && Float(betas.1) < 1)
        try check("weight_decay", weightDecay, weightDecay >= 0)
    }

    var values: [(key: String, value: OptimizerDescription.Value)] {
        [("betas", .pair(betas.0, betas.1)), ("weight_decay", .number(weightDecay))]
    }

    static func == (left: Lion, right: Lion) -> Bool {
        left.learningRate == right.learningRate && left.betas == right.betas && left.weightDecay == right.weightDecay
    }
}

extension OptimizerDescription {
    /// Lion with the names and defaults of its authors' program; the decay does not pass through the momentum.
    public static func lion(
        learningRate: Double = 1e-4, betas: (Double, Double) = (0.9, 0.99), weightDecay: Double = 0
    ) -> OptimizerDescription {
        OptimizerDescription(Lion(learningRate: learningRate, betas: betas, weightDecay: weightDecay))
    }
}
