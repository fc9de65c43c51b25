// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IRewardVault} from "./interfaces/IRewardVault.sol";

/// @title How money comes in and goes out: the chain's own coin, or one ERC-20 token
/// @dev Tokens are not trusted: what arrives is measured, what leaves is measured, and nobody enters twice.
abstract contract Treasury is IRewardVault, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc IRewardVault
    address public immutable asset;

    constructor(address asset_) {
        if (asset_ != address(0) && asset_.code.length == 0) revert NoToken(asset_);
        asset = asset_;
    }

    /// @dev What arrived of `amountWei`; never nothing.
    function _take(uint256 amountWei) internal returns (uint128 received) {
        uint256 expected = asset == address(0) ? amountWei : 0;
        if (msg.value != expected) revert ValueMismatch(expected, msg.value);
        uint256 arrived = amountWei;
        if (asset != address(0)) {
            uint256 before = IERC20(asset).balanceOf(address(this));
            IERC20(asset).safeTransferFrom(msg.sender, address(this), amountWei);
            arrived = IERC20(asset).balanceOf(address(this)) - before;
        }
        if (arrived == 0) revert NothingFunded();
        return SafeCast.toUint128(arrived);
    }

    /// @dev To be called last: the receiver may run code.
    function _pay(address account, uint256 amountWei) internal {
        if (asset == address(0)) {
            (bool accepted,) = account.call{value: amountWei}("");
            if (!accepted) revert PaymentFailed(account, amountWei);
            return;
        }
        uint256 before = IERC20(asset).balanceOf(address(this));
        IERC20(asset).safeTransfer(account, amountWei);
        uint256 taken = before - IERC20(asset).balanceOf(address(this));
        if (taken > amountWei) revert TokenOvercharged(amountWei, taken);
    }
}
