import CKernels

/// max(x, 0).
struct ReLU: ActivationLayer, PlainLayer {
    static let type = "relu"
    var function: deml_activation { DEML_RELU }
    var fusible: deml_activation? { DEML_RELU }
}

extension Layer {
    /// max(x, 0).
    public static var relu: Layer { Layer(ReLU()) }
}
