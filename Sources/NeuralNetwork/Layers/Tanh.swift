import CKernels

/// (exp(x) - exp(-x))/(exp(x) + exp(-x)).
struct Tanh: ActivationLayer, PlainLayer {
    static let type = "tanh"
    var function: deml_activation { DEML_TANH }
}

extension Layer {
    /// (exp(x) - exp(-x))/(exp(x) + exp(-x)).
    public static var tanh: Layer { Layer(Tanh()) }
}
