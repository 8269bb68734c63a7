import CKernels
import Tensors

/// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019 (arXiv 1711.05101), in the form of
/// torch.optim.AdamW: p ← p·(1 - learningRate·weightDecay) before ``Adam``'s step without decay.
struct AdamW: Optimizer {
    static let type = "adamw"
    static let options = Adam.options

    /// Everything but what the decay does.
    private var adam: Adam

    init(learningRate: Double, betas: (Double, Double), epsilon: Double, weightDecay: Double) {
        adam = Adam(learningRate: learningRate, betas: betas, epsilon: epsilon, weightDecay: weightDecay)
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        adam = try Adam(learningRate: learningRate, given)
        adam.weightDecay = try given.number("weight_decay") ?? 1e-2
    }

    var learningRate: Double {
        get { adam.learningRate }
        set { adam.learningRate = newValue }
    }

    var stateNames: [String] { Adam.stateNames }

    var kernel: deml_optimizer {
        var kernel = adam.kernel
        kernel.kind = DEML_ADAMW
        return kernel
    }

    func validate() throws(DeMLError) {
        try adam.validate()
    }

    var values: [(key: String, value: OptimizerDescription.Value)] { adam.values }
}

extension OptimizerDescription {
    /// AdamW with the options of torch.optim.AdamW; the decay does not pass through the moments.
    public static func adamw(
        learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8,
        weightDecay: Double = 1e-2
    ) -> OptimizerDescription {
        OptimizerDescription(
            AdamW(learningRate: learningRate, betas: betas, epsilon: epsilon, weightDecay: weightDecay))
    }
}
