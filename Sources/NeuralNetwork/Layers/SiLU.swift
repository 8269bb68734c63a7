import CKernels

/// x·σ(x), σ(x) = 1/(1 + exp(-x)). Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units for neural network function
/// approximation in reinforcement learning", 2017 (arXiv 1702.03118); also called swish.
struct SiLU: ActivationLayer, PlainLayer {
    static let type = "silu"
    var function: deml_activation { DEML_SILU }
}

extension Layer {
    /// x·σ(x), σ(x) = 1/(1 + exp(-x)).
    public static var silu: Layer { Layer(SiLU()) }
}
