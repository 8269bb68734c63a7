import CKernels

/// 1/(1 + exp(-x)).
struct Sigmoid: ActivationLayer, PlainLayer {
    static let type = "sigmoid"
    var function: deml_activation { DEML_SIGMOID }
}

extension Layer {
    /// 1/(1 + exp(-x)).
    public static var sigmoid: Layer { Layer(Sigmoid()) }
}
