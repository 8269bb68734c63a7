/// Logarithm and exponential out of IEEE additions, multiplications and divisions alone, after fdlibm's e_log.c and
/// e_exp.c (Sun Microsystems, 1993): the system's functions may differ in the last bit from machine to machine, and a
/// partition drawn with the same seed must not.
public enum PortableMath {
    private static let ln2High = 6.93147180369123816490e-01
    private static let ln2Low = 1.90821492927058770002e-10

    /// Natural logarithm, error below one unit in the last place; NaN for negative numbers, -infinity for 0.
    public static func log(_ x: Double) -> Double {
        guard x > 0 else { return x == 0 ? -.infinity : .nan }
        guard x.isFinite else { return x }
        // x = 2^k (1 + f) with sqrt(1/2) < 1 + f < sqrt(2)
        var k = Int(x.exponent)
        var significand = x.significand
        if significand > 1.4142135623730951 {
            significand /= 2
            k += 1
        }
        let f = significand - 1
        let s = f / (2 + f)
        let z = s * s
        let w = z * z
        let odd =
            z
            * (6.666666666666735130e-01 + w
                * (2.857142874366239149e-01
                    + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
        let even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
        let r = odd + even
        let half = 0.5 * f * f
        let exponent = Double(k)
        return exponent * ln2High - ((half - (s * (half + r) + exponent * ln2Low)) - f)
    }

    /// Exponential, error below one unit in the last place for normal results.
    public static func exp(_ x: Double) -> Double {
        if x.isNaN { return x }
        if x > 7.09782712893383973096e+02 { return .infinity }
        if x < -7.45133219101941108420e+02 { return 0 }
        // x = k ln 2 + r with |r| <= ln 2 / 2
        let k = (x * 1.44269504088896338700).rounded()
        let high = x - k * ln2High
        let low = k * ln2Low
        let r = high - low
        let t = r * r
        var series = t * 4.13813679705723846039e-08
        for coefficient in [-1.65339022054652515390e-06, 6.61375632143793436117e-05, -2.77777777770155933842e-03] {
            series = t * (coefficient + series)
        }
        let c = r - t * (1.66666666666666019037e-01 + series)
        let y = 1 - ((low - (r * c) / (2 - c)) - high)
        // In two steps, because 2^k alone may be outside the range where the product is not.
        let first = Int(k) / 2
        return y * power(first) * power(Int(k) - first)
    }

    private static func power(_ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: 1)
    }
}
