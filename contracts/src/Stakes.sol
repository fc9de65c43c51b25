// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Treasury} from "./Treasury.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRewardVault, Stake} from "./interfaces/IRewardVault.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title What members stake, and what they lose of it
abstract contract Stakes is Treasury {
    /* IMMUTABLES */

    /// @inheritdoc IRewardVault
    IMemberRegistry public immutable registry;

    /// @inheritdoc IRewardVault
    IRoundLedger public immutable ledger;

    /// @inheritdoc IRewardVault
    address public immutable disputes;

    /// @inheritdoc IRewardVault
    uint64 public immutable unbondingSeconds;

    /* STORAGE */

    mapping(uint256 index => Stake) private _stakes;

    /// @inheritdoc IRewardVault
    uint128 public totalFunded;

    /// @inheritdoc IRewardVault
    uint128 public totalSlashed;

    /* CONSTRUCTOR */

    constructor(IMemberRegistry registry_, IRoundLedger ledger_, uint64 unbondingSeconds_) {
        if (address(registry_).code.length == 0) revert NoRegistry(address(registry_));
        address named = registry_.vault();
        if (named != address(this)) revert NotTheVault(named);
        named = registry_.ledger();
        if (named != address(ledger_)) revert NotTheLedger(named);
        uint256 longest = uint256(ledger_.disputeWindowSeconds()) + ledger_.rulingSeconds();
        if (unbondingSeconds_ <= longest) revert UnbondingTooShort(longest + 1, unbondingSeconds_);
        registry = registry_;
        ledger = ledger_;
        disputes = registry_.disputes();
        unbondingSeconds = unbondingSeconds_;
    }

    /* ACTIONS OF MEMBERS */

    /// @inheritdoc IRewardVault
    function stake(uint256 index, uint256 amountWei) external payable nonReentrant {
        if (!registry.isActive(index)) revert MemberNotActive(index);
        uint128 received = _take(amountWei);
        _stakes[index].staked += received;
        emit Staked(index, msg.sender, received);
    }

    /// @inheritdoc IRewardVault
    function requestUnstake(uint256 index, uint128 amountWei) external {
        address account = registry.accountAt(index);
        if (msg.sender != account) revert NotTheAccount(index, account);
        Stake storage own = _stakes[index];
        if (amountWei == 0 || amountWei > own.staked) revert StakeTooSmall(index, own.staked, amountWei);
        own.staked -= amountWei;
        own.unbonding += amountWei;
        own.releaseAt = uint64(block.timestamp) + unbondingSeconds;
        emit UnstakeRequested(index, amountWei, own.releaseAt);
    }

    /// @inheritdoc IRewardVault
    function withdrawStake(uint256 index) external nonReentrant {
        Stake storage own = _stakes[index];
        uint128 amount = own.unbonding;
        if (amount == 0) revert NothingUnbonding(index);
        if (block.timestamp < own.releaseAt) revert UnbondingNotOver(index, own.releaseAt);
        address account = registry.accountAt(index);
        own.unbonding = 0;
        emit StakeWithdrawn(index, account, amount);
        _pay(account, amount);
    }

    /* ACTIONS OF DISPUTES */

    /// @inheritdoc IRewardVault
    function slash(uint256 index, uint256 amountWei) external returns (uint256 takenWei) {
        _checkDisputes();
        Stake storage own = _stakes[index];
        uint128 staked = _least(own.staked, amountWei);
        uint128 unbonding = _least(own.unbonding, amountWei - staked);
        own.staked -= staked;
        own.unbonding -= unbonding;
        totalSlashed += staked + unbonding;
        emit Slashed(index, staked, unbonding);
        return staked + unbonding;
    }

    /// @inheritdoc IRewardVault
    function lockBond(uint256 index, uint128 amountWei) external {
        _checkDisputes();
        Stake storage own = _stakes[index];
        if (amountWei > own.staked) revert StakeTooSmall(index, own.staked, amountWei);
        own.staked -= amountWei;
        own.bonded += amountWei;
        emit BondLocked(index, amountWei);
    }

    /// @inheritdoc IRewardVault
    function releaseBond(uint256 index, uint128 amountWei, bool isForfeited) external {
        _checkDisputes();
        Stake storage own = _stakes[index];
        own.bonded -= amountWei;
        if (isForfeited) totalSlashed += amountWei;
        else own.staked += amountWei;
        emit BondReleased(index, amountWei, isForfeited);
    }

    /* VIEWS */

    /// @inheritdoc IRewardVault
    function stakeOf(uint256 index) external view returns (Stake memory) {
        return _stakes[index];
    }

    /* INTERNAL */

    function _checkDisputes() private view {
        if (msg.sender != disputes) revert NotTheDisputes(msg.sender);
    }

    function _least(uint128 have, uint256 want) private pure returns (uint128) {
        return want < have ? uint128(want) : have;
    }
}
