import CKernels

/// min(max(x, 0), 6). Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.
struct ReLU6: ActivationLayer, PlainLayer {
    static let type = "relu6"
    var function: deml_activation { DEML_RELU6 }
}

extension Layer {
    /// min(max(x, 0), 6).
    public static var relu6: Layer { Layer(ReLU6()) }
}
