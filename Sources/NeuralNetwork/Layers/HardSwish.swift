import CKernels

/// x·relu6(x + 3)/6: a silu of polynomials (torch's `Hardswish`). Howard et al., "Searching for MobileNetV3", 2019
/// (arXiv 1905.02244).
struct HardSwish: ActivationLayer, PlainLayer {
    static let type = "hard_swish"
    var function: deml_activation { DEML_HARD_SWISH }
}

extension Layer {
    /// x·relu6(x + 3)/6.
    public static var hardSwish: Layer { Layer(HardSwish()) }
}
