import CKernels

/// relu6(x + 3)/6: a sigmoid of straight lines (torch's `Hardsigmoid`). Howard et al., "Searching for MobileNetV3", 2019
/// (arXiv 1905.02244).
struct HardSigmoid: ActivationLayer, PlainLayer {
    static let type = "hard_sigmoid"
    var function: deml_activation { DEML_HARD_SIGMOID }
}

extension Layer {
    /// relu6(x + 3)/6.
    public static var hardSigmoid: Layer { Layer(HardSigmoid()) }
}
