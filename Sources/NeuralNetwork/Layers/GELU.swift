import CKernels

/// x·Φ(x), Φ being the normal distribution function (torch's `approximate="none"`). Hendrycks and Gimpel, "Gaussian error
/// linear units", 2016.
struct GELU: ActivationLayer {
    static let type = "gelu"
    static let options = ["approximate"]

    var function: deml_activation { DEML_GELU }
}

extension GELU {
    init(_ options: StrictContainer) throws {
        try options.demand("approximate", "none")
    }
}

extension Layer {
    /// x·Φ(x), Φ being the normal distribution function.
    public static var gelu: Layer { Layer(GELU()) }
}
